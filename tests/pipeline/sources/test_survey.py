import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import PipelineError
from pipeline.sources.manifests import COLUMNS
from pipeline.sources.survey import discover, survey

VIDEO = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"


def put(folder, *names, data=VIDEO):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def labels(sources):
    return {source.uri.rsplit("/", 1)[1]: source.label for source in sources}


def test_folders_name_the_category_of_their_videos(tmp_path):
    put(tmp_path, "melt/a.mp4", "Melt it/b.webm", "c.gif", "deep/er/d.mov")
    found = survey(tmp_path)
    assert found.layout == "folder"
    assert labels(found.sources) == {"a.mp4": "melt", "b.webm": "Melt it", "c.gif": None, "d.mov": "er"}
    assert [source.uri for source in found.sources] == sorted(source.uri for source in found.sources)


def test_junk_in_a_folder_is_no_input_but_a_text_called_mp4_is(tmp_path):
    put(tmp_path, "README.txt", "notes.json", "thumb.jpg", data=b"{}")
    put(tmp_path, ".hidden.mp4", ".cache/x.mp4", "no_suffix", "renamed.bin")
    put(tmp_path, "fake.mp4", "LICENSE", data=b"just text")
    put(tmp_path, "sound.mp3", data=b"ID3")
    assert set(labels(discover(tmp_path))) == {"no_suffix", "renamed.bin", "fake.mp4", "sound.mp3"}


def test_a_single_file_and_a_glob_are_sources(tmp_path):
    put(tmp_path, "melt/a.mp4", "melt/b.mp4", "crush/c.mp4")
    assert len(discover(tmp_path / "melt" / "a.mp4")) == 1
    assert labels(discover(str(tmp_path / "*" / "[ac].mp4"))) == {"a.mp4": "melt", "c.mp4": "crush"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: p / "missing", "There is nothing at"),
        (lambda p: (p / "empty").mkdir() or p / "empty", "is empty"),
        (lambda p: put(p, "t/readme.txt", data=b"x") or p / "t", "holds no videos"),
        (lambda p: p / "*.mp4", "No video matches"),
        (lambda p: "", "No place is named"),
        (lambda p: put(p, "w/0.zip", data=b"x") or p / "w", r"only 0\.zip .an archive; unpack it first"),
        (lambda p: p / ("x" * 5000), "cannot be looked at: file name too long"),
    ],
)
def test_a_place_without_videos_is_one_clear_sentence(tmp_path, make, says):
    with pytest.raises(PipelineError, match=says) as caught:
        discover(make(tmp_path))
    assert "\n" not in str(caught.value)


ROW = {"file_path": "v/a.mp4", "text": "a cat", "type": "melt", "generator": "g", "licence": "CC0-1.0"}


def write_manifest(path, rows):
    suffix = path.suffix
    if suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        names = list(rows[0])
        lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet"])
def test_every_kind_of_manifest_says_the_same(tmp_path, suffix):
    put(tmp_path, "v/a.mp4", "v/b.mp4")
    manifest = write_manifest(tmp_path / f"m.{suffix}", [ROW, ROW | {"file_path": "v/b.mp4", "type": ""}])
    first, second = discover(manifest)
    assert (first.caption, first.label, first.generator, first.licence) == ("a cat", "melt", "g", "CC0-1.0")
    assert second.label is None or second.label == "v"
    assert first.uri == str(tmp_path / "v" / "a.mp4")


def test_a_column_map_names_what_a_manifest_calls_otherwise(tmp_path):
    put(tmp_path, "a.mp4")
    manifest = write_manifest(tmp_path / "m.csv", [{"clip": "a.mp4", "fx": "Melt it"}])
    (source,) = discover(manifest, columns={"path": "clip", "label": "fx"})
    assert source.label == "Melt it"
    with pytest.raises(PipelineError, match="line 1: no column names the files; its columns are 'clip'"):
        discover(manifest)
    with pytest.raises(PipelineError, match="no column 'nope' for label"):
        discover(manifest, columns={"path": "clip", "label": "nope"})


def test_defaults_fill_only_what_is_not_said(tmp_path):
    put(tmp_path, "v/a.mp4")
    manifest = write_manifest(tmp_path / "m.jsonl", [ROW])
    (source,) = discover(manifest, defaults={"licence": "MIT", "source": "studio"})
    assert (source.licence, source.source) == ("CC0-1.0", "studio")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("m.jsonl", b'{"path": "a.mp4"}\n{"path": "\xff\xfe"}\n', "line 2: not UTF-8"),
        ("m.csv", "path\na.mp4\n".encode("utf-16"), "line 1: not UTF-8"),
        ("m.jsonl", b'{"path": "a.mp4"}\n{"path": \n', "line 2: not JSON"),
        ("m.json", b'[{"path": "a.mp4"},\n{"path" }]', "line 2: not JSON"),
        ("m.json", b"3", "line 1: not a JSON list"),
        ("m.jsonl", b'["a.mp4"]\n', "line 1: not an object"),
        ("m.csv", b"path,text\na.mp4,x,y\n", "line 2: 3 columns where the header has 2"),
        ("m.parquet", b"no parquet", "is not Parquet"),
    ],
)
def test_a_manifest_in_the_wrong_encoding_or_form_is_refused_with_its_line(tmp_path, name, data, says):
    put(tmp_path, "a.mp4")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PipelineError, match=says):
        discover(tmp_path / name)


def test_an_empty_manifest_lists_no_videos(tmp_path):
    (tmp_path / "m.csv").write_text("path,type\n")
    with pytest.raises(PipelineError, match="lists no videos"):
        discover(tmp_path / "m.csv")


def test_every_column_name_of_ours_is_known_once():
    theirs = [name for names in COLUMNS.values() for name in names]
    assert len(theirs) == len(set(theirs))
