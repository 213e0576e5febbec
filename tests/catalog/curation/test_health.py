"""What looks least like its category, and how well each category is."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from catalog.curation import Author, Selection
from catalog.curation.categories import hold_out, merge
from catalog.curation.clips import approve, move
from catalog.curation.health import health
from catalog.curation.queue import review_queue
from catalog.curation.standing import apart, near
from catalog.errors import CatalogError, UnknownCategory
from catalog.store import Catalog
from catalog.vectors import ensure_vectors
from tests.catalog.curated import CLIPS

AXES = {"melt": 0, "drip": 1, "snow": 2}


@pytest.fixture
def embedded(curated) -> Catalog:
    """Each category points its own way; s3 is filed under snow and looks like drip."""
    ensure_vectors(curated, "clips", "embedding", 3)
    rng = np.random.default_rng(0)
    rows = []
    for clip, category in CLIPS.items():
        vector = rng.normal(0, 0.05, 3)
        vector[AXES["drip" if clip.startswith("s3") else category]] += 2.0
        rows.append({"clip_id": clip, "embedding": vector, "phash": [2**60 + int(clip[1]), 7]})
    curated.update("clips", rows)
    return curated


def test_the_clip_that_looks_least_like_its_category_comes_first_with_what_it_looks_like(embedded):
    first, *others = review_queue(embedded)
    assert first.clip_id == "s3aaaaa"
    assert first.category_id == "snow"
    assert first.likeness < 0.3
    assert first.predictions[0][0] == "drip"
    assert first.predictions[0][1] > 0.95
    assert len(others) == 11
    assert [q.likeness for q in others] == sorted(q.likeness for q in others)
    assert {q.category_id for q in review_queue(embedded, category="Drip it")} == {"drip"}
    assert [q.clip_id for q in review_queue(embedded, limit=1)] == ["s3aaaaa"]


def test_clips_without_a_category_wait_first_and_reviewed_ones_are_over(embedded):
    embedded.update("clips", [{"clip_id": "m0aaaaa", "category_id": None}])
    first = review_queue(embedded)[0]
    assert (first.clip_id, first.category_id, first.likeness) == ("m0aaaaa", None, None)
    assert first.predictions[0][0] == "melt"
    approve(embedded, Selection.of(["m0aaaaa", "s3aaaaa"]), Author("ann"))
    assert {"m0aaaaa", "s3aaaaa"}.isdisjoint(q.clip_id for q in review_queue(embedded))
    assert len(review_queue(embedded, reviewed=True)) == 12


def test_the_figures_of_one_category_are_those_that_it_has_among_all(embedded):
    merge(embedded, ["snow"], "drip", Author("ann"))
    hold_out(embedded, "melt", Author("ann"))
    every = {each.category_id: each for each in health(embedded)}
    assert every["melt"].held_out
    for category in every:
        assert health(embedded, only=category) == [every[category]]
    assert health(embedded, only="nobody") == []


def test_the_figures_of_a_category(embedded):
    embedded.update("clips", [{"clip_id": "m3aaaaa", "status": "duplicate"}])
    move(embedded, Selection.of(["m0aaaaa"]), "melt", Author("ann"))
    hold_out(embedded, "drip", Author("ann"))
    found = {each.category_id: each for each in health(embedded)}
    snow, melt = found["snow"], found["melt"]
    assert (snow.size, snow.purity, snow.confusable, snow.confusable_share) == (4, 0.75, "drip", 0.25)
    assert (melt.size, melt.purity, melt.duplicate_share, melt.reviewed) == (3, 1.0, 0.25, 1)
    assert snow.subjects == 1
    assert found["drip"].held_out and not snow.held_out
    merge(embedded, ["snow"], "drip", Author("ann"))
    found = {each.category_id: each for each in health(embedded)}
    assert set(found) == {"drip", "melt"}
    assert found["drip"].size == 8


def test_without_vectors_categories_have_their_counts_and_the_queue_says_what_to_do(curated):
    assert {each.category_id: (each.size, each.purity) for each in health(curated)} == dict.fromkeys(
        AXES, (4, None)
    )
    with pytest.raises(CatalogError, match="video2lora embed"):
        review_queue(curated)


def test_a_category_that_is_not_there_has_no_queue(embedded):
    with pytest.raises(UnknownCategory, match="nearest: 'melt'"):
        review_queue(embedded, category="mlet")


def test_a_clip_is_compared_with_the_others_and_not_with_itself():
    vectors = np.eye(4, dtype=np.float32)
    groups = np.array([0, 0, 1, -1])
    own, nearest, cosines = near(vectors, groups, 2, 5, np.ones(4, dtype=bool))
    assert own[:2].tolist() == [0.0, 0.0]
    assert np.isnan(own[2:]).all()
    assert nearest.shape == cosines.shape == (4, 2)


def test_different_pictures_are_counted():
    assert apart([], 12) == 0
    assert apart([5, 5, 4, 2**64 - 1], 12) == 2


def test_a_categorys_transfer_gap_is_the_champions_else_that_of_the_newest_model_that_has_one(embedded, ann):
    def model(name, day, gaps, champion=False):
        looked = {f"gap_of/{category}": gap for category, gap in gaps.items()}
        row = {"model_id": name, "champion": champion, "created_at": datetime(2026, 11, day, tzinfo=UTC)}
        embedded.upsert("models", [row | {"metrics": json.dumps({"evaluation": looked | {"gap_seen": 9.0}})}])

    def gaps():
        return {each.category_id: each.transfer_gap for each in health(embedded)}

    assert set(gaps().values()) == {None}
    model("old", 1, {"melt": 0.1, "drip": 0.3})
    model("newer", 2, {"melt": 0.2})
    model("newest", 3, {})
    assert gaps() == {"melt": 0.2, "drip": None, "snow": None}
    model("old", 1, {"melt": 0.1, "drip": 0.3}, champion=True)
    assert gaps() == {"melt": 0.1, "drip": 0.3, "snow": None}
    merge(embedded, ["drip"], "melt", ann)
    assert gaps() == {"melt": pytest.approx(0.2), "snow": None}
