import json

import pytest

from jobs.place import BadColumn, NoSuchPlace, Place
from pipeline.errors import BadManifest, BadSource
from tests.pipeline.sources.test_survey import put


def test_the_command_lines_words_hold_where_the_manifest_is_silent(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4", "unlisted.mp4")
    lines = [{"mp4": "a.mp4", "fx": "melt", "licence": "cc0"}, {"mp4": "b.mp4", "fx": "crush"}]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    said = {"licence": "CC-BY-4.0", "licence_evidence": "a card", "generator": None}
    found = Place.of(str(tmp_path), None, ["path=mp4", "label=fx"], said).survey()
    assert [(s.label, s.licence) for s in found.sources] == [("melt", "cc0"), ("crush", "CC-BY-4.0")]
    assert {s.licence_evidence for s in found.sources} == {"a card"}
    assert found.unlisted == [str(tmp_path / "unlisted.mp4")]


def test_a_path_that_does_not_exist_is_refused_and_what_may_exist_is_not(tmp_path):
    with pytest.raises(NoSuchPlace, match="nowhere"):
        Place.of(str(tmp_path / "nowhere"), None, [], {})
    for location in (str(tmp_path), str(tmp_path / "*.mp4"), "s3://bucket/prefix"):
        assert Place.of(location, None, [], {}).location == location


def test_a_column_map_without_an_equals_sign_is_refused():
    with pytest.raises(BadColumn, match="caption=prompt"):
        Place.of("videos", None, ["caption"], {})


def test_a_column_that_none_is_meant_for_can_be_said(tmp_path):
    put(tmp_path, "takes/a.mp4")
    assert Place.of(str(tmp_path), None, [], {}).survey().sources[0].label == "takes"
    assert Place.of(str(tmp_path), None, ["label="], {}).survey().sources[0].label is None


def test_a_column_that_is_not_there_and_a_layout_that_is_none_are_said(tmp_path):
    put(tmp_path, "a.mp4")
    (tmp_path / "manifest.csv").write_text("path\na.mp4\n")
    with pytest.raises(BadManifest, match="no column 'nothing' for caption"):
        Place.of(str(tmp_path), None, ["caption=nothing"], {}).survey()
    with pytest.raises(BadSource, match="No layout is called 'zip'"):
        Place.of(str(tmp_path), "zip", [], {}).survey()


def test_a_place_is_looked_at_once_a_command(tmp_path):
    put(tmp_path, "melt/a.mp4")
    place = Place.of(str(tmp_path), None, [], {})
    first = place.survey()
    put(tmp_path, "melt/b.mp4")
    assert place.survey() is first
    assert len(Place.of(str(tmp_path), None, [], {}).survey().sources) == 2
