"""Folders as they lie on disk: links, closed doors, leftovers; nothing is passed over in silence."""

import ctypes
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.intake.stat import hashed
from pipeline.sources.addresses import address_of, path_of
from pipeline.sources.survey import discover, survey
from tests.pipeline.sources.test_survey import labels, put


def skipped(found) -> dict[str, str]:
    return {place.rpartition("/")[2]: reason for place, reason in found.skipped}


def test_a_category_that_is_a_link_is_read_under_its_name(tmp_path):
    put(tmp_path, "set/melt/a.mp4", "store/c.mp4")
    (tmp_path / "set" / "crush").symlink_to("../store")
    found = survey(tmp_path / "set")
    assert labels(found.sources) == {"a.mp4": "melt", "c.mp4": "crush"}
    assert found.sources[0].uri == str(tmp_path / "set/crush/c.mp4")


def test_two_links_to_one_file_are_two_inputs(tmp_path):
    put(tmp_path, "set/a.mp4")
    for label in ("melt", "crush"):
        (tmp_path / "set" / label).mkdir()
        (tmp_path / "set" / label / "x.mp4").symlink_to("../a.mp4")
    found = {
        source.uri.removeprefix(f"{tmp_path}/set/"): source.label for source in discover(tmp_path / "set")
    }
    assert found == {"a.mp4": None, "melt/x.mp4": "melt", "crush/x.mp4": "crush"}


def test_a_loop_of_links_ends_and_is_said(tmp_path):
    put(tmp_path, "a/x.mp4", "b/y.mp4")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    found = survey(tmp_path)
    assert {source.uri.removeprefix(f"{tmp_path}/") for source in found.sources} == {
        "a/x.mp4",
        "b/y.mp4",
        "b/to_a/x.mp4",
    }
    assert set(skipped(found).values()) == {"a link back to a folder that it lies in"}
    assert {"loop", "self"} <= set(skipped(found))


def test_a_link_to_nothing_is_an_input_whose_row_will_say_so(tmp_path):
    put(tmp_path, "melt/a.mp4")
    (tmp_path / "melt" / "b.mp4").symlink_to("nowhere.mp4")
    assert set(labels(discover(tmp_path))) == {"a.mp4", "b.mp4"}
    assert hashed(str(tmp_path / "melt" / "b.mp4")).refusal.code == "missing"


@contextmanager
def as_an_ordinary_user():
    """Without the privileges that let root pass every closed door."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    without = (ctypes.c_uint32 * 6)(*before)
    without[0] = without[3] = 0
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="privileges are dropped as Linux has them")
def test_a_closed_folder_is_a_row_and_a_closed_file_says_what_to_do(tmp_path):
    put(tmp_path, "melt/a.mp4", "melt/locked.mp4", "crush/b.mp4", "names/c.mp4")
    (tmp_path / "melt/locked.mp4").chmod(0)
    (tmp_path / "crush").chmod(0)
    (tmp_path / "names").chmod(0o444)
    try:
        with as_an_ordinary_user():
            sources = {s.uri.removeprefix(f"{tmp_path}/"): s for s in discover(tmp_path)}
            read = {name: hashed(source.location).refusal for name, source in sources.items()}
    finally:
        for name in ("crush", "names"):
            (tmp_path / name).chmod(0o755)
    assert set(sources) == {"melt/a.mp4", "melt/locked.mp4", "crush", "names/c.mp4"}
    assert sources["crush"].refusal.code == "closed_folder"
    assert "permission denied" in sources["crush"].refusal.reason
    assert read["melt/a.mp4"] is None
    assert read["melt/locked.mp4"].code == read["names/c.mp4"].code == "no_permission"


def test_what_the_program_makes_is_never_its_input(tmp_path):
    Catalog.create(tmp_path / "catalog", ClipSpec())
    (tmp_path / "profile.json").write_text(json.dumps({"ingest": {}, "backbone": {}, "train": {}}))
    put(tmp_path, "videos/melt/a.mp4", "generated/b.mp4", "report_files/c.mp4", "out.mp4")
    put(tmp_path, "out.lora.safetensors", data=b"x")
    found = survey(tmp_path)
    assert labels(found.sources) == {"a.mp4": "melt"}
    assert set(skipped(found)) == {"catalog", "generated", "report_files", "out.mp4"}
    # Moved to where no working directory is, the catalogue's own files are still none.
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "catalog").rename(tmp_path / "elsewhere" / "old")
    put(tmp_path, "elsewhere/a.mp4")
    assert labels(discover(tmp_path / "elsewhere")) == {"a.mp4": None}


def test_archives_pictures_and_hidden_files_are_said(tmp_path):
    put(tmp_path, "a.mp4", ".hidden.mp4", "shards/0.zip", *[f"seq/f_{n:04}.bmp" for n in range(9)])
    found = skipped(survey(tmp_path))
    assert "begins with a dot" in found[".hidden.mp4"]
    assert "unpack it first" in found["0.zip"]
    assert "9 numbered pictures of a kind that is not read" in found["f_%04d.bmp"]


def test_a_name_that_is_no_text_is_an_input_like_any_other(tmp_path):
    name = b"caf\xe9 \xff.mp4"
    (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    (source,) = discover(tmp_path)
    assert source.uri == f"{tmp_path}/caf\\xe9 \\xff.mp4"
    source.uri.encode()
    assert os.fsencode(path_of(source.uri).name) == name
    assert hashed(source.location).sha256


PLAIN = """
import sys
from jobs.console import out
from pipeline.sources.survey import discover
for source in discover(sys.argv[1]):
    source.uri.encode(), (source.label or "").encode()
    out.print(f"{source.label} {source.uri}", markup=False)
"""


def test_a_process_that_knows_ascii_only_sees_the_same_names(tmp_path):
    put(tmp_path, "Éclat/café.mp4")
    plain = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "LC_ALL": "C"}
    said = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path)],
        capture_output=True,
        check=True,
        env=os.environ | plain | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ).stdout
    assert said.decode("ascii").splitlines() == [f"\\xc9clat {tmp_path}/\\xc9clat/caf\\xe9.mp4"]
    assert [s.uri for s in discover(tmp_path)] == [f"{tmp_path}/Éclat/café.mp4"]


@pytest.mark.parametrize("name", ["plain", "é 🎉", r"c:\xe9\x5c", "\udce9", "new\nline", "%41?#"])
def test_every_name_is_found_again_by_its_address(tmp_path, name):
    address = address_of(tmp_path / name)
    address.encode()
    assert path_of(address) == tmp_path / name


def test_a_data_set_in_hugging_faces_cache_is_read_by_its_names(tmp_path):
    repo = tmp_path / "hub" / "datasets--someone--Open-VFX"
    put(repo, "blobs/1f", "blobs/2f")
    put(repo, "blobs/list", data=json.dumps([{"path": "videos/Melt_it-0.mp4", "text": "a cup"}]).encode())
    snapshot = repo / "snapshots" / "0123abcd"
    (snapshot / "videos").mkdir(parents=True)
    (snapshot / "Melt_it.json").symlink_to("../../blobs/list")
    (snapshot / "videos" / "Melt_it-0.mp4").symlink_to("../../../blobs/1f")
    for place in (tmp_path / "hub", repo, snapshot):
        found = survey(place)
        assert found.layout == "open-vfx"
        assert [(s.label, s.caption) for s in found.sources] == [("Melt_it", "a cup")]
