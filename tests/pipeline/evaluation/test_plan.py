"""Which clips are generated: what is held out, of every category, with references of their own."""

from pathlib import Path

import pytest

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.evaluation.plan import IN, OUT, NothingHeldOut, plan_evaluation
from pipeline.pairing.plan import PairSettings

SPEC = ClipSpec(num_frames=5, fps=8, height=64, width=96)


def planned(folder: Path, *clips: tuple[str, str, str], each: int = 2, **settings):
    """The plan of accepted clips (id, category, split)."""
    catalog = Catalog.create(folder / "catalog", SPEC)
    rows = [
        {"clip_id": i, "category_id": c, "split": s, "status": "accepted", "caption": f"a {i}"}
        for i, c, s in clips
    ]
    catalog.upsert(
        "clips", [*rows, {"clip_id": "0", "category_id": "melt", "split": "val", "status": "rejected"}]
    )
    return plan_evaluation(catalog, PairSettings(**settings), each, 0, 64, "v1")


def of(category: str, *splits: str) -> list[tuple[str, str, str]]:
    return [(f"{category}{place}", category, split) for place, split in enumerate(splits)]


def test_held_out_clips_are_generated_for_and_no_other_within_each_categorys_number(tmp_path):
    clips = [*of("melt", "train", "train", "val", "val", "val"), *of("spin", "train", "train", "val")]
    plan = planned(tmp_path, *clips, *of("glow", "ood", "ood", "ood"))
    assert [case.name for case in plan.cases] == ["melt", "melt", "spin", "glow", "glow"]
    assert [case.domain for case in plan.cases] == [IN, IN, IN, OUT, OUT]
    splits = {clip: split for clip, _, split in clips}
    for case in plan.cases:
        assert splits.get(case.target_id, "ood") != "train"
        assert case.reference_id.startswith(case.category) and case.reference_id != case.target_id
        assert not case.other_id.startswith(case.category)
        assert case.prompt == f"a {case.target_id}"
    assert not set(plan.targets) & set(plan.teachers), "no judge learns from what it is asked about"
    assert not set(plan.targets) & set(plan.others)
    assert all(category in ("melt", "spin", "glow") for category in plan.others.values())


def test_every_plan_of_the_same_clips_is_the_same_with_a_seed_for_each_clip(tmp_path):
    clips = [*of("melt", "train", "train", "val", "val"), *of("spin", "train", "val", "val")]
    first, again = planned(tmp_path / "a", *clips), planned(tmp_path / "b", *reversed(clips))
    assert first == again
    assert len({case.seed for case in first.cases}) == len(first.cases)


def test_a_clips_name_changes_with_the_model_its_settings_and_what_it_is_made_of_alone(tmp_path):
    one, two = planned(tmp_path, *of("melt", "train", "val", "val"), *of("spin", "train", "train")).cases
    by = {"model": "a", "generate": {"steps": 6}}
    assert one.key(by) == one.key(dict(reversed(by.items())))
    assert len({one.key(by), two.key(by), one.key(by | {"model": "b"}), one.key({"model": "a"})}) == 4


def test_a_category_with_one_clip_is_left_out_and_the_plan_says_so(tmp_path):
    plan = planned(tmp_path, *of("melt", "train", "val"), *of("spin", "train", "train"), *of("glow", "ood"))
    assert {case.name for case in plan.cases} == {"melt"}
    assert plan.left_out == {"glow": "it has one clip, and nothing that could be its reference"}


def test_nothing_held_out_is_a_sentence_that_says_how_to_hold_something_out(tmp_path):
    with pytest.raises(NothingHeldOut, match="Snapshot 'v1' holds no clip that is held out"):
        planned(tmp_path / "a", *of("melt", "train", "train"), *of("spin", "train", "train"))
    with pytest.raises(NothingHeldOut, match="glow: it has one clip"):
        planned(tmp_path / "b", *of("melt", "train", "train"), *of("glow", "ood"))
    with pytest.raises(NothingHeldOut, match="no other category"):
        planned(tmp_path / "c", *of("glow", "ood", "ood"))
    with pytest.raises(NothingHeldOut, match="may not be paired"):
        planned(tmp_path / "d", *of("melt", "train", "val"), *of("spin", "train", "train"), licences=("cc0",))
