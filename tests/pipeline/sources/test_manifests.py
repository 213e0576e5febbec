"""Manifests as people have them: a line that is of no use is a row, and the others go on."""

import json
import unicodedata

import pytest

from pipeline.errors import PipelineError
from pipeline.sources.survey import discover, survey
from tests.pipeline.sources.test_survey import ROW, put, write_manifest


def refusals(found) -> dict[str, str]:
    """Of every entry that names nothing: the end of its key, and the code."""
    return {s.uri.rpartition("/")[2]: s.refusal.code for s in found.sources if s.refusal}


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("", "not_named", "names no file"),
        ("v/a.mp4", "listed_twice", "lists already; the first counts"),
        ("v/a.mp4\0", "not_named", "is no name of a file"),
        ("v/" + 300 * "a", "not_named", "is no name of a file"),
        ("v/link.mp4", "leads_outside", "leads outside"),
    ],
)
def test_an_entry_of_no_use_is_a_row_that_says_why_and_the_others_go_on(tmp_path, suffix, path, code, says):
    put(tmp_path, "set/v/a.mp4", "set/v/b.mp4", "secret.mp4")
    (tmp_path / "set/v/link.mp4").symlink_to(tmp_path / "secret.mp4")
    rows = [ROW, ROW | {"file_path": path}, ROW | {"file_path": "v/b.mp4"}]
    found = survey(write_manifest(tmp_path / "set" / f"m.{suffix}", rows))
    line = {"csv": 3, "json": 9, "jsonl": 2}[suffix]
    assert refusals(found) == {f"m.{suffix}#line={line}": code}
    (refused,) = [source for source in found.sources if source.refusal]
    assert says in refused.refusal.reason
    assert [s.uri[-5:] for s in found.sources if not s.refusal] == ["a.mp4", "b.mp4"]


def test_a_file_that_is_not_there_is_an_input_whose_row_will_say_so(tmp_path):
    put(tmp_path, "a.mp4")
    manifest = write_manifest(tmp_path / "m.csv", [{"path": "a.mp4"}, {"path": "gone.mp4"}])
    assert [source.uri for source in discover(manifest)] == [
        str(tmp_path / "a.mp4"),
        str(tmp_path / "gone.mp4"),
    ]
    with pytest.raises(PipelineError, match=r"1 entries of no use.*no file .*gone\.mp4"):
        discover(manifest, strict=True)


def test_a_manifest_of_another_folder_is_refused(tmp_path):
    put(tmp_path, "clips/a.mp4")
    manifest = write_manifest(tmp_path / "m.csv", [{"path": "a.mp4"}, {"path": "b.mp4"}])
    with pytest.raises(PipelineError, match="2 entries, and none names a file below"):
        discover(manifest)
    assert len(discover(manifest, root=tmp_path / "clips")) == 2


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_names_that_climb_out_of_the_folder_refuse_the_manifest_all_of_them_at_once(tmp_path, suffix):
    put(tmp_path, "v/a.mp4")
    rows = [ROW, ROW | {"file_path": "../../etc/passwd"}, ROW | {"file_path": "/etc/passwd"}]
    with pytest.raises(PipelineError, match=r"'\.\./\.\./etc/passwd' leads outside.*'/etc/passwd' leads out"):
        discover(write_manifest(tmp_path / f"m.{suffix}", rows))


def test_what_cannot_be_read_is_told_at_once_and_not_line_by_line(tmp_path):
    put(tmp_path, "a.mp4")
    (tmp_path / "m.jsonl").write_text('{"path": "a.mp4"}\n{"path": \n[1]\n')
    with pytest.raises(PipelineError, match=r"line 2: not JSON .*; line 3: not an object"):
        discover(tmp_path / "m.jsonl")


def test_an_id_that_is_used_twice_is_said(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4")
    rows = [{"id": "x", "path": "a.mp4"}, {"id": "x", "path": "b.mp4"}]
    found = survey(write_manifest(tmp_path / "m.csv", rows))
    assert (len(found.sources), found.notes) == (2, ["the id 'x' is used in lines 2, 3"])


@pytest.mark.parametrize(
    "text",
    [
        "file_name,Caption,LABEL\na.mp4,a red ball,Melt\n",
        'File Name, caption, label\na.mp4, "a red ball", Melt\n',
        "file_name;caption;label\na.mp4;a red ball;Melt\n",
        "file_name\tcaption\tlabel\na.mp4\ta red ball\tMelt\n",
        "\ufefffile_name,caption,label\r\na.mp4,a red ball,Melt\r\n",
        "file_name,caption,label\ra.mp4,a red ball,Melt\r",
    ],
    ids=["capitals", "blanks", "semicolons", "tabs", "windows", "old mac"],
)
def test_a_table_is_read_as_any_program_writes_it(tmp_path, text):
    put(tmp_path, "a.mp4")
    (tmp_path / "metadata.csv").write_text(text, newline="")
    (source,) = discover(tmp_path)
    assert (source.caption, source.label) == ("a red ball", "Melt")


def test_a_caption_may_be_long(tmp_path):
    put(tmp_path, "a.mp4")
    (tmp_path / "m.csv").write_text(f"path,caption\na.mp4,{'word ' * 100_000}\n")
    assert len(discover(tmp_path / "m.csv")[0].caption) == 499_999


def test_names_from_other_systems_find_their_files(tmp_path):
    put(tmp_path, "clips/a.mp4", unicodedata.normalize("NFD", "café/é.mp4"))
    rows = [{"path": r"clips\a.mp4"}, {"path": unicodedata.normalize("NFC", "café/é.mp4")}]
    found = discover(write_manifest(tmp_path / "m.jsonl", rows))
    assert {source.uri for source in found} == {
        str(tmp_path / "clips/a.mp4"),
        str(tmp_path / unicodedata.normalize("NFD", "café/é.mp4")),
    }


def test_columns_that_nothing_is_taken_from_are_said(tmp_path):
    put(tmp_path, "a.mp4")
    found = survey(write_manifest(tmp_path / "m.csv", [{"path": "a.mp4", "fx": "melt", "height": 480}]))
    assert found.notes == ["columns that were not read: fx, height"]


@pytest.mark.parametrize(
    ("start", "end", "window"),
    [
        ("1", "", "seconds:1-inf"),
        ("", "4", "seconds:0-4"),
        ("0:01:02.5", "1:10", "seconds:62.5-70"),
        ("00:00:02,000", "00:00:05,000", "seconds:2-5"),
        ("", "", None),
    ],
)
def test_a_window_may_be_open_and_its_times_written_as_people_do(tmp_path, start, end, window):
    put(tmp_path, "a.mp4")
    (tmp_path / "m.tsv").write_text(f"path\tstart\tend\na.mp4\t{start}\t{end}\n")
    assert discover(tmp_path / "m.tsv")[0].window == window


@pytest.mark.parametrize(("start", "end"), [("4", "2"), ("x", "2"), ("-1", "2")])
def test_a_window_that_is_none_is_a_row_with_a_reason(tmp_path, start, end):
    put(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "m.csv").write_text(f"path,start,end\na.mp4,{start},{end}\nb.mp4,1,2\n")
    found = survey(tmp_path / "m.csv")
    assert refusals(found) == {"m.csv#line=2": "bad_window"}
    assert len(found.sources) == 2


def test_several_windows_of_one_file_are_several_inputs(tmp_path):
    put(tmp_path, "movie.mp4")
    rows = [
        {"path": "movie.mp4", "start": 0, "end": 3, "label": "melt"},
        {"path": "movie.mp4", "start": 3, "end": 6, "label": "crush"},
        {"path": "movie.mp4", "start": 3, "end": 6, "label": "melt"},
    ]
    found = survey(write_manifest(tmp_path / "m.jsonl", rows))
    kept = {s.uri.rpartition("/")[2]: (s.label, s.location) for s in found.sources if not s.refusal}
    movie = str(tmp_path / "movie.mp4")
    assert kept == {"movie.mp4#seconds:0-3": ("melt", movie), "movie.mp4#seconds:3-6": ("crush", movie)}
    (twice,) = [source for source in found.sources if source.refusal]
    assert "line 2 lists already as 'crush', here as 'melt'; the first counts" in twice.refusal.reason


def test_a_list_of_another_name_beside_videos_is_pointed_at(tmp_path):
    put(tmp_path, "melt/a.mp4")
    write_manifest(tmp_path / "my clips.csv", [{"path": "melt/a.mp4", "caption": "a cup"}])
    found = survey(tmp_path)
    assert found.layout == "folder"
    assert [(s.place[-12:], "give its path" in s.reason) for s in found.skipped] == [("my clips.csv", True)]


def test_a_medium_is_no_label(tmp_path):
    """VideoX-Fun's own documentation: `type` says whether a file is a video or an image."""
    put(tmp_path, "train/a.mp4", "train/b.mp4")
    rows = [{"file_path": f"train/{n}.mp4", "text": "t", "type": "video"} for n in "ab"]
    (tmp_path / "metadata.json").write_text(json.dumps(rows))
    found = survey(tmp_path)
    assert found.layout == "videox-fun"
    assert {source.label for source in found.sources} == {None}
    rows = [row | {"type": "Melt" if row["file_path"] == "train/a.mp4" else "video"} for row in rows]
    (tmp_path / "metadata.json").write_text(json.dumps(rows))
    assert [source.label for source in discover(tmp_path)] == ["Melt", "video"]


def test_no_label_can_be_said(tmp_path):
    put(tmp_path, "day one/a.mp4")
    assert discover(tmp_path)[0].label == "day one"
    assert discover(tmp_path, columns={"label": ""})[0].label is None
    write_manifest(tmp_path / "info.json", [{"path": "day one/a.mp4", "category": "melt"}])
    assert discover(tmp_path)[0].label == "melt"
    assert discover(tmp_path, columns={"label": ""})[0].label is None
