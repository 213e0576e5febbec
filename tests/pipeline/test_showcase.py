from pathlib import Path

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.showcase import choose_examples

SPEC = ClipSpec(num_frames=5, fps=8, height=64, width=96)


def chosen(folder: Path, count: int, *clips: tuple[str, str, str]) -> list[tuple[str, str]]:
    """The pairs of ids out of accepted clips (id, category, split) and one that is rejected."""
    catalog = Catalog.create(folder / "catalog", SPEC)
    rows = [{"clip_id": i, "category_id": c, "split": s, "status": "accepted"} for i, c, s in clips]
    catalog.upsert("clips", [*rows, {"clip_id": "0", "category_id": "melt", "status": "rejected"}])
    return [(one["clip_id"], other["clip_id"]) for one, other in choose_examples(catalog, count)]


def test_an_effect_is_shown_on_a_clip_of_another_category_that_was_not_trained_on(tmp_path):
    clips = [("a", "melt", "train"), ("b", "pan", "train"), ("c", "pan", "val"), ("d", "zoom", "train")]
    assert chosen(tmp_path / "all", 3, *clips) == [("a", "c"), ("b", "d"), ("d", "a")]
    assert chosen(tmp_path / "one", 1, *clips) == [("a", "c")]


def test_a_category_that_is_alone_is_shown_on_another_clip_of_it_or_not_at_all(tmp_path):
    assert chosen(tmp_path / "one", 3, ("a", "melt", "train")) == []
    assert chosen(tmp_path / "two", 3, ("a", "melt", "train"), ("b", "melt", "val")) == [("a", "b")]


def test_the_last_example_is_of_a_category_that_is_out_of_domain(tmp_path):
    clips = [("a", "blur", "ood"), ("b", "melt", "train"), ("c", "pan", "train"), ("d", "zoom", "train")]
    assert chosen(tmp_path / "all", 3, *clips) == [("b", "c"), ("c", "d"), ("a", "b")]
    assert chosen(tmp_path / "one", 1, *clips) == [("a", "b")]
    assert chosen(tmp_path / "none", 0, *clips) == []
