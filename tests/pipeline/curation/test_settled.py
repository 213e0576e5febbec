"""What a person said of two clips holds for every later look for duplicates."""

import pytest

from catalog.acts import undo
from catalog.clip_spec import ClipSpec
from catalog.curation import Author
from catalog.curation.duplicates import keep, not_duplicates, reversed_twins
from catalog.store import Catalog
from pipeline.curation.dedup import deduplicate
from tests.pipeline.curation.test_duplicates import flipped, words

ANN = Author("ann")


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    """`original`, a `copy` of it with fewer pixels, the same `backwards`, and `another` video."""
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec())
    looks = {
        "original": words(1),
        "copy": flipped(words(1), 2),
        "backwards": flipped(words(1), 1)[::-1],
        "another": words(2),
    }
    catalog.upsert(
        "clips",
        [
            {
                "clip_id": name,
                "sha256": name,
                "status": "accepted",
                "window_start": 0.0,
                "window_end": 6.0,
                "source_width": 100 - number,
                "source_height": 64,
                "phash": [int(word) for word in look],
            }
            for number, (name, look) in enumerate(looks.items())
        ],
    )
    return catalog


def statuses(catalog: Catalog) -> dict[str, str]:
    return {row["clip_id"]: row["status"] for row in catalog.scan("clips", ["clip_id", "status"]).to_pylist()}


def test_clips_that_were_told_apart_are_never_marked_again(catalog):
    deduplicate(catalog)
    assert statuses(catalog)["copy"] == "duplicate"
    not_duplicates(catalog, ["original", "copy"], ANN)
    report = deduplicate(catalog)
    assert (report.counts["matches"], set(statuses(catalog).values())) == (0, {"accepted"})
    # Not even where all is compared anew.
    assert deduplicate(catalog).event is None


def test_the_clip_that_a_person_keeps_stays_kept(catalog):
    deduplicate(catalog)
    keep(catalog, "copy", ["original", "another"], ANN)
    assert deduplicate(catalog).event is None
    marked = {name for name, status in statuses(catalog).items() if status == "duplicate"}
    assert marked == {"original", "another"}


def test_the_same_backwards_is_found_told_once_and_never_merged(catalog):
    report = deduplicate(catalog)
    names = sorted(sorted(clip["clip_id"] for clip in pair) for pair in report.backwards)
    assert names == [["backwards", "copy"], ["backwards", "original"]]
    assert statuses(catalog)["backwards"] == "accepted"
    assert reversed_twins(catalog) == [("backwards", "copy"), ("backwards", "original")]
    assert deduplicate(catalog).event is None
    undo(catalog, report.event, actor="ann")
    assert reversed_twins(catalog) == []
