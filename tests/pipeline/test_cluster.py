"""Clips to categories and splits."""

import numpy as np
import pytest

from catalog.acts import undo
from catalog.curation import Author
from catalog.curation.categories import rename
from catalog.errors import UnknownCategory
from catalog.store import Catalog
from catalog.vectors import ensure_vectors
from pipeline.cluster import ClusterSettings, cluster
from pipeline.curation.splits import split_of
from tests.pipeline.made import SPEC

DIM = 8


def direction(axis: int, number: int = 0, spread: float = 0.1) -> list[float]:
    """A unit vector near one axis; `number` varies it."""
    vector = np.eye(DIM)[axis] + np.random.default_rng([axis, number]).normal(0, spread, DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32).tolist()


def catalog_of(folder, clips: dict[str, tuple[str | None, list[float] | None]]) -> Catalog:
    """Accepted clips by id: the label of the source, and the embedding."""
    catalog = Catalog.create(folder / "catalog", SPEC)
    ensure_vectors(catalog, "clips", "embedding", DIM, "test")
    add(catalog, clips)
    return catalog


def add(catalog: Catalog, clips: dict) -> None:
    catalog.upsert(
        "sources",
        [
            {"source_uri": f"{clip}.mp4", "outcome": "accepted", "clip_ids": [clip], "label": label}
            for clip, (label, _) in clips.items()
        ],
    )
    catalog.upsert(
        "clips",
        [
            {
                "clip_id": clip,
                "source_uri": f"{clip}.mp4",
                "sha256": clip,
                "status": "accepted",
                "embedding": vector,
            }
            for clip, (_, vector) in clips.items()
        ],
    )


def rows(catalog: Catalog) -> dict[str, dict]:
    return {row["clip_id"]: row for row in catalog.scan("clips").to_pylist()}


def categories(catalog: Catalog) -> dict[str, dict]:
    return {row["category_id"]: row for row in catalog.scan("categories").to_pylist()}


def test_labels_become_categories_with_a_prototype_and_one_name_for_many_spellings(tmp_path):
    clips = {
        "a": ("Melt", direction(0, 1)),
        "b": ("melt it", direction(0, 2)),
        "c": ("Explode", direction(1)),
    }
    catalog = catalog_of(tmp_path, clips)
    report = cluster(catalog, ClusterSettings())
    assert report.counts["label"] == 3
    assert report.counts["new_categories"] == 2
    found = categories(catalog)
    assert set(found) == {"melt", "explode"}
    assert (found["melt"]["size"], found["melt"]["state"], found["melt"]["group"]) == (2, "active", None)
    mean = np.mean([direction(0, 1), direction(0, 2)], axis=0)
    np.testing.assert_allclose(found["melt"]["prototype"], mean / np.linalg.norm(mean), atol=1e-6)
    row = rows(catalog)["b"]
    assert (row["category_id"], row["category_source"], row["category_confidence"]) == ("melt", "label", 1.0)


def test_an_unlabelled_clip_goes_to_a_near_prototype_and_not_to_a_doubtful_one(tmp_path):
    between = ((np.eye(DIM)[0] + np.eye(DIM)[1]) / np.sqrt(2)).tolist()
    clips = {f"melt-{i}": ("melt", direction(0, i)) for i in range(3)}
    clips |= {f"boom-{i}": ("explode", direction(1, i)) for i in range(3)}
    clips |= {"near": (None, direction(0, 9)), "between": (None, between), "far": (None, direction(5))}
    catalog = catalog_of(tmp_path, clips)
    report = cluster(catalog, ClusterSettings())
    found = rows(catalog)
    assert (found["near"]["category_id"], found["near"]["category_source"]) == ("melt", "assigned")
    assert 0.6 < found["near"]["category_confidence"] <= 1
    assert found["between"]["category_id"] is None
    assert "near enough" in report.unassigned["between"]
    assert "near enough" in report.unassigned["far"]
    # Assigned clips count as members but do not move the prototype.
    assert categories(catalog)["melt"]["size"] == 4
    mean = np.mean([direction(0, i) for i in range(3)], axis=0)
    np.testing.assert_allclose(
        categories(catalog)["melt"]["prototype"], mean / np.linalg.norm(mean), atol=1e-6
    )


def test_what_is_like_nothing_known_is_proposed_as_new_categories_and_noise_stays_without(tmp_path):
    clips = {f"x-{i}": (None, direction(2, i, 0.02)) for i in range(8)}
    clips |= {f"y-{i}": (None, direction(3, i, 0.02)) for i in range(6)}
    clips |= {"odd": (None, direction(6))}
    catalog = catalog_of(tmp_path, clips)
    report = cluster(catalog, ClusterSettings(min_cluster_size=4))
    found = categories(catalog)
    assert set(found) == {"cluster-001", "cluster-002"}
    assert (found["cluster-001"]["size"], found["cluster-001"]["state"]) == (8, "proposed")
    assert {rows(catalog)[f"y-{i}"]["category_id"] for i in range(6)} == {"cluster-002"}
    assert rows(catalog)["odd"]["category_id"] is None
    assert "no cluster" in report.unassigned["odd"]


def test_a_second_run_writes_nothing(tmp_path):
    clips = {f"melt-{i}": ("melt", direction(0, i)) for i in range(3)}
    clips |= {f"x-{i}": (None, direction(2, i, 0.02)) for i in range(8)} | {"near": (None, direction(0, 9))}
    catalog = catalog_of(tmp_path, clips | {"odd": (None, direction(6)), "blind": (None, None)})
    first = cluster(catalog, ClusterSettings())
    versions = catalog.versions()
    second = cluster(catalog, ClusterSettings())
    assert second.counts == first.counts | {"changed": 0, "new_categories": 0}
    assert second.unassigned == first.unassigned
    assert catalog.versions() == versions


def test_a_proposed_category_keeps_its_name_when_more_clips_come(tmp_path):
    kinds = (("x", 2), ("y", 4))
    old = {f"{name}-{i}": (None, direction(axis, i, 0.02)) for name, axis in kinds for i in range(6)}
    catalog = catalog_of(tmp_path, old)
    cluster(catalog, ClusterSettings())
    before = {clip: row["category_id"] for clip, row in rows(catalog).items()}
    assert set(before.values()) == {"cluster-001", "cluster-002"}
    add(catalog, {f"a-{i}": (None, direction(3, i, 0.02)) for i in range(12)})
    cluster(catalog, ClusterSettings())
    after = {clip: row["category_id"] for clip, row in rows(catalog).items()}
    assert {clip: after[clip] for clip in before} == before
    assert {after[f"a-{i}"] for i in range(12)} == {"cluster-003"}


def test_a_proposal_that_nothing_supports_any_more_goes_unless_somebody_named_it(tmp_path):
    clips = {f"x-{i}": (None, direction(2, i, 0.02)) for i in range(8)}
    clips |= {f"y-{i}": (None, direction(3, i, 0.02)) for i in range(6)}
    catalog = catalog_of(tmp_path, clips)
    cluster(catalog, ClusterSettings(min_cluster_size=4))
    rename(catalog, "cluster-002", "Shatter", Author("ann"))
    # Another embedder finds nothing that these clips have in common.
    apart = {clip: direction(at % DIM, at, 0.02) for at, clip in enumerate(clips)}
    catalog.update("clips", [{"clip_id": clip, "embedding": vector} for clip, vector in apart.items()])
    report = cluster(catalog, ClusterSettings(min_cluster_size=4))
    assert {row["name"]: row["size"] for row in categories(catalog).values()} == {"Shatter": 0}
    undo(catalog, report.event, actor="ann")
    assert categories(catalog)["cluster-001"]["size"] == 8


def test_what_a_person_decided_stays(tmp_path):
    catalog = catalog_of(tmp_path, {f"melt-{i}": ("melt", direction(0, i)) for i in range(4)})
    cluster(catalog, ClusterSettings())
    catalog.upsert(
        "categories", [{"category_id": "drip", "name": "Drip", "state": "active", "aliases": ["dribble"]}]
    )
    decided = {"category_id": "drip", "category_source": "human", "category_confidence": 1.0}
    catalog.update("clips", [{"clip_id": "melt-0", **decided}])
    add(catalog, {"new": ("Dribble", direction(0, 7))})
    report = cluster(catalog, ClusterSettings())
    found = rows(catalog)
    assert {name: found["melt-0"][name] for name in decided} == decided
    assert report.counts["human"] == 1
    assert found["new"]["category_id"] == "drip"
    assert categories(catalog)["drip"]["name"] == "Drip"


def test_a_label_of_a_merged_category_goes_where_it_was_merged_into(tmp_path):
    catalog = catalog_of(tmp_path, {"a": ("goo", direction(0))})
    merged = {"category_id": "goo", "name": "goo", "state": "merged", "merged_into": "melt"}
    catalog.upsert("categories", [merged, {"category_id": "melt", "name": "melt", "state": "active"}])
    cluster(catalog, ClusterSettings())
    assert rows(catalog)["a"]["category_id"] == "melt"


def test_a_catalogue_without_embeddings_is_sorted_by_label_alone(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    catalog.upsert("sources", [{"source_uri": "a.mp4", "label": "melt", "clip_ids": ["a"]}])
    catalog.upsert(
        "clips", [{"clip_id": c, "source_uri": f"{c}.mp4", "status": "accepted"} for c in ("a", "b")]
    )
    report = cluster(catalog, ClusterSettings())
    assert rows(catalog)["a"]["category_id"] == "melt"
    assert report.unassigned == {"b": "It has no embedding; run `video2lora embed`."}


def test_held_out_categories_are_ood_and_the_rest_is_split_by_what_the_clip_is(tmp_path):
    clips = {f"melt-{i:02d}": ("melt", direction(0, i)) for i in range(40)}
    clips |= {f"boom-{i}": ("Explode it", direction(1, i)) for i in range(4)}
    catalog = catalog_of(tmp_path, clips)
    settings = ClusterSettings(held_out_categories=("Explode",), val_fraction=0.25)
    report = cluster(catalog, settings)
    found = rows(catalog)
    assert {found[f"boom-{i}"]["split"] for i in range(4)} == {"ood"}
    assert report.empty_held_out == ()
    before = {c: found[c]["split"] for c in clips if c.startswith("melt")}
    assert 3 <= list(before.values()).count("val") <= 17
    add(catalog, {f"more-{i:02d}": ("melt", direction(0, 100 + i)) for i in range(20)})
    cluster(catalog, settings)
    assert {c: rows(catalog)[c]["split"] for c in before} == before


class Placed:
    def __init__(self, clip_id, stratum, category_id="melt"):
        self.clip_id, self.stratum, self.category_id = clip_id, stratum, category_id


def test_windows_of_one_video_fall_on_the_same_side():
    clips = [Placed(f"{video}-{window}", str(video)) for video in range(30) for window in range(3)]
    splits = split_of(clips, set(), 0.3)
    assert set(splits.values()) == {"train", "val"}
    for video in range(30):
        assert len({splits[f"{video}-{window}"] for window in range(3)}) == 1


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_small_category_keeps_a_pair_to_train_on(size):
    for start in range(30):
        splits = split_of([Placed(f"{start}-{i}", f"{start}-{i}") for i in range(size)], set(), 0.8)
        assert list(splits.values()).count("train") >= min(size, 2)


def test_a_held_out_name_that_no_category_has_is_refused_before_anything_changes(tmp_path):
    catalog = catalog_of(tmp_path, {"a": ("melt", direction(0)), "b": ("Crush it", direction(1))})
    versions = catalog.versions()
    with pytest.raises(UnknownCategory, match=r"held_out_categories` names 'mlet'.*nearest: 'melt'"):
        cluster(catalog, ClusterSettings(held_out_categories=("mlet",)))
    assert catalog.versions() == versions
    # A category that is known but of which no clip is accepted is told.
    catalog.upsert("categories", [{"category_id": "freeze", "state": "active"}])
    report = cluster(catalog, ClusterSettings(held_out_categories=("freeze", "CRUSH")))
    assert report.empty_held_out == ("freeze",)
    assert rows(catalog)["b"]["split"] == "ood"


def test_spellings_of_one_effect_are_one_category_and_are_told(tmp_path):
    labels = ("Cakeify", "cake_ify", "Cake ify", "Moultenify", "moulten-ify", "पानी", "पीना", "🔥")
    catalog = catalog_of(tmp_path, {f"c{n}": (label, direction(0, n)) for n, label in enumerate(labels)})
    report = cluster(catalog, ClusterSettings(held_out_categories=("cake ify",)))
    found = [rows(catalog)[f"c{n}"]["category_id"] for n in range(len(labels))]
    assert found == ["cake_ify"] * 3 + ["moulten_ify"] * 2 + ["पानी", "पीना", "🔥"]
    assert report.spellings["cake_ify"] == ("Cake ify", "Cakeify", "cake_ify")
    assert {row["split"] for row in rows(catalog).values() if row["category_id"] == "cake_ify"} == {"ood"}


def test_sorting_is_one_act_that_is_taken_back_whole(tmp_path):
    catalog = catalog_of(tmp_path, {"a": ("melt", direction(0)), "b": (None, direction(0, 2))})
    event = cluster(catalog, ClusterSettings(), actor="ann").event
    assert {row["category_id"] for row in rows(catalog).values()} == {"melt"}
    undo(catalog, event, actor="ben")
    assert categories(catalog) == {}
    assert {row["category_id"] for row in rows(catalog).values()} == {None}
