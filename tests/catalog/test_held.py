"""Columns of clips in memory: what a commit wrote is read, what it did not is not, the past is the past."""

from collections import Counter

import numpy as np
import pytest
from lancedb.expr import col

from catalog.curation.standing import standing
from catalog.search import facets, held
from catalog.search.clips import Clips
from catalog.search.held import Held
from catalog.store import Catalog
from catalog.vectors import ensure_vectors


@pytest.fixture
def filled(catalog) -> Catalog:
    ensure_vectors(catalog, "clips", "embedding", 2)
    rows = [
        {
            "clip_id": f"c{n}",
            "category_id": f"k{n % 3}",
            "status": "accepted",
            "phash": [2**63 + n, 1] if n % 2 else None,
            "embedding": [n + 1.0, 0.0] if n != 5 else None,
        }
        for n in range(12)
    ]
    catalog.upsert("clips", rows)
    return catalog


def said(catalog: Catalog, name: str) -> list:
    codes, values = Held.of(Clips.of(catalog)).words([name])[name]
    return [values[code] for code in codes]


@pytest.fixture
def read(monkeypatch) -> list[int]:
    """How many rows the fragments have from which columns were read."""
    found: list[int] = []

    def fetched(clips, fragments, columns, fetch=held._fetch) -> None:
        found.extend(fragment.count_rows() for fragment in fragments.values())
        fetch(clips, fragments, columns)

    monkeypatch.setattr(held, "_fetch", fetched)
    return found


def test_what_a_commit_did_not_write_is_not_read_again(filled, read):
    assert Counter(said(filled, "category_id")) == {"k0": 4, "k1": 4, "k2": 4}
    filled.update("clips", [{"clip_id": "c0", "category_id": "k9"}])
    assert Counter(said(filled, "category_id")) == {"k0": 3, "k1": 4, "k2": 4, "k9": 1}
    assert Counter(said(filled, "category_id")).total() == 12
    assert read == [12, 1]


def test_a_row_that_was_gone_when_it_was_read_is_read_for_an_older_version(filled, read):
    old = filled.snapshot()
    filled.update("clips", [{"clip_id": "c0", "category_id": "k9"}])
    views = [filled.at(each) for each in (filled.snapshot(), old)]
    assert ["k9" in said(view, "category_id") for view in views] == [True, False]
    assert sorted(said(views[1], "category_id")) == sorted(f"k{n % 3}" for n in range(12))
    assert read == [11, 1, 12]


def test_of_a_list_of_numbers_the_first_counts_and_an_empty_one_is_none(filled):
    filled.update("clips", [{"clip_id": "c1", "phash": []}])
    first = dict(zip(said(filled, "clip_id"), said(filled, "phash"), strict=True))
    assert first == {f"c{n}": 2**63 + n if n % 2 and n != 1 else None for n in range(12)}


@pytest.mark.parametrize("most", [100, 0])
def test_vectors_have_length_one_those_that_are_missing_are_nan_and_too_many_are_not_kept(
    filled, read, monkeypatch, most
):
    monkeypatch.setattr(held, "_MOST_VECTORS", most)
    filled.update(
        "clips", [{"clip_id": "c3", "embedding": [0.0, -3.0]}, {"clip_id": "c4", "embedding": [0, 0]}]
    )
    for _ in range(2):
        clips = Held.of(Clips.of(filled))
        codes, names = clips.words(["clip_id"])["clip_id"]
        vectors = dict(zip([names[code] for code in codes], clips.vectors("embedding").tolist(), strict=True))
        assert np.isnan(vectors.pop("c5")).all()
        assert (vectors.pop("c3"), vectors.pop("c4")) == ([0.0, -1.0], [0.0, 0.0])
        assert set(map(tuple, vectors.values())) == {(1.0, 0.0)}
    # Of clip ids once, of vectors once or each time, each of two fragments.
    assert len(read) == (4 if most else 6)


def test_how_clips_stand_follows_a_change_of_one(filled):
    before = standing(filled)
    assert "c5" not in before.clip_ids and len(before.clip_ids) == 11
    filled.update("clips", [{"clip_id": "c0", "status": "rejected"}, {"clip_id": "c5", "status": "accepted"}])
    after = standing(filled)
    assert set(before.clip_ids) - set(after.clip_ids) == {"c0"}
    assert np.allclose(after.own, 1.0)


def test_a_catalogue_without_clips_has_no_facets_whatever_is_asked(catalog):
    for where in (None, col("category_id") == "k0"):
        assert facets(catalog, ["category_id"], where) == {"category_id": []}
