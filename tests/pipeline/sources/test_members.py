"""Videos in tars, in tables and as numbered pictures are inputs like files, with labels and reasons."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from catalog.clip_spec import ClipSpec
from pipeline.errors import BadSource
from pipeline.intake.gone import is_there
from pipeline.intake.reading import InputChanged, reading
from pipeline.intake.stat import Stat, hashed, stat
from pipeline.sources.survey import discover, survey
from pipeline.video.normalise import NormaliseSettings, normalise
from pipeline.video.rejection import Rejection
from tests.pipeline.video.video_files import moving, numbered, write

SPEC = ClipSpec(num_frames=9, fps=8, height=64, width=96)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    return write(tmp_path_factory.mktemp("video") / "a.mp4", moving(30)).read_bytes()


def shard(path, members):
    """A tar of (name, bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pictures(folder, count=12, suffix="png", first=1, name="f_{:04d}"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(numbered(count, 64, 96), start=first):
        Image.fromarray(frame).save(folder / f"{name.format(number)}.{suffix}")
    return folder


def told(sources):
    """Label and caption by the end of the address."""
    return {
        s.uri.rpartition("/")[2] if "!" not in s.uri else s.uri.partition("!/")[2]: (s.label, s.caption)
        for s in sources
    }


def decoded(location):
    with reading(location, stat(location)) as file:
        return normalise(file, SPEC, NormaliseSettings()).facts


def test_a_webdataset_shard_is_read_with_what_its_samples_say(tmp_path, video):
    described = {"caption": "a red cup", "license": "cc0", "effect": "glow", "n": 7}
    path = shard(
        tmp_path / "data" / "0000.tar",
        [
            ("000.mp4", video),
            ("000.txt", b"a blue cup"),
            ("000.cls", b"melt"),
            ("./001.mp4", video + b"1"),
            ("001.json", json.dumps(described).encode()),
            ("crush/002.MP4", video + b"2"),
            ("002.npy", b"x"),
        ],
    )
    found = survey(path)
    assert told(found.sources) == {
        "000.mp4": ("melt", "a blue cup"),
        "001.mp4": ("glow", "a red cup"),
        "crush/002.MP4": ("crush", None),
    }
    assert {s.licence for s in found.sources} == {None, "cc0"}
    assert [reason for _, reason in found.skipped] == ["1 of its members are no videos"]
    assert (found.layout, found.scope) == ("tar", f"{path}!/")
    assert discover(tmp_path) == found.sources
    assert discover(tmp_path / "data" / "*.tar") == found.sources
    first = f"{path}!/000.mp4"
    assert stat(first).size == len(video) and decoded(first)["source_frames"] == 30
    assert hashed(first).sha256 != hashed(f"{path}!/001.mp4").sha256
    with reading(first, stat(first)) as file:
        assert file.read() == video
    with pytest.raises(InputChanged), reading(first, Stat(1, 2.0)):
        pass
    assert is_there(first) and not is_there(f"{path}!/003.mp4") and not is_there(f"{tmp_path}/no.tar!/0.mp4")
    assert hashed(f"{path}!/003.mp4").refusal.code == "missing"


def test_shards_in_labelled_folders_take_the_folders_label(tmp_path, video):
    shard(tmp_path / "melt" / "0.tar", [("a.mp4", video)])
    shard(tmp_path / "train" / "0.tar", [("b.mp4", video)])
    assert told(discover(tmp_path)) == {"a.mp4": ("melt", None), "b.mp4": (None, None)}


def test_nothing_but_regular_members_is_ever_read(tmp_path, video):
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (
            ("link.mp4", tarfile.SYMTYPE),
            ("hard.mp4", tarfile.LNKTYPE),
            ("fifo.mp4", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name in ("../../up.mp4", "/etc/x.mp4"):
            info = tarfile.TarInfo(name)
            info.size = len(video)
            tar.addfile(info, io.BytesIO(video))
    sources = discover(path)
    assert {s.uri.partition("!/")[2] for s in sources} == {"../../up.mp4", "/etc/x.mp4"}
    for source in sources:  # these are names inside of it, and lead nowhere else
        with reading(source.location, stat(source.location)) as file:
            assert file.read() == video


@pytest.mark.parametrize(
    ("harm", "says", "left"),
    [
        (lambda data: data[:-60_000], "ends in the middle of 'b.mp4'", 1),
        (lambda data: b"no tar at all" * 100, "damaged, or no tar", 0),
        (lambda data: data[:124] + b"-0000000001\0" + data[136:], "damaged", 0),
    ],
)
def test_a_torn_shard_is_a_row_with_a_reason_beside_what_can_be_read(tmp_path, harm, says, left):
    path = shard(tmp_path / "0.tar", [("a.mp4", b"a" * 40_000), ("b.mp4", b"b" * 80_000)])
    path.write_bytes(harm(path.read_bytes()))
    sources = discover(tmp_path)
    (torn,) = [s for s in sources if s.refusal]
    assert torn.refusal.code == "damaged_archive" and says in torn.refusal.reason
    assert len(sources) == left + 1


def test_a_header_that_claims_a_gigabyte_is_not_believed(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 10**9
    path = tmp_path / "0.tar"
    path.write_bytes(info.tobuf() + b"\0" * 4096)
    (torn,) = discover(tmp_path)
    assert "impossible size" in torn.refusal.reason
    with pytest.raises(BadSource, match="impossible size"):
        discover(path)


def test_a_shard_without_videos_is_said(tmp_path):
    path = shard(tmp_path / "w" / "0.tar", [("a.txt", b"x")])
    with pytest.raises(BadSource, match="holds no videos"):
        discover(path)
    with pytest.raises(BadSource, match=r"only 0\.tar .an archive without videos"):
        discover(tmp_path / "w")


def test_a_table_of_videos_is_read_row_by_row(tmp_path, video):
    rows = {
        "Label": [0, 1, 1],
        "caption": ["a cup", None, "a cat"],
        "seed": [1, 2, 3],
        "video": [{"bytes": video + bytes([n]), "path": f"{n}.mp4"} for n in range(3)],
    }
    names = {"info": {"features": {"Label": {"_type": "ClassLabel", "names": ["melt", "crush"]}}}}
    table = pa.table(rows).replace_schema_metadata({"huggingface": json.dumps(names)})
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "train-00000.parquet"
    pq.write_table(table, path, row_group_size=2)
    found = survey(path)
    assert told(found.sources) == {
        "video/0000000": ("melt", "a cup"),
        "video/0000001": ("crush", None),
        "video/0000002": ("crush", "a cat"),
    }
    assert found.notes == [
        "the videos of train-00000.parquet are in its column 'video'",
        "train-00000.parquet: columns that were not read: seed",
    ]
    assert told(discover(tmp_path)) == told(found.sources)
    for row in (2, 0, 1, 1):  # in any order
        location = f"{path}!/video/{row:07d}"
        with reading(location, stat(location)) as file:
            assert file.read() == video + bytes([row])
    assert decoded(f"{path}!/video/0000002")["source_frames"] == 30
    assert len({hashed(source.location).sha256 for source in found.sources}) == 3
    assert hashed(f"{path}!/video/0000003").refusal.code == "missing"


def test_plain_bytes_are_a_video_too_and_an_empty_cell_is_a_row_with_a_reason(tmp_path, video):
    pq.write_table(pa.table({"mp4": [video, None], "fx": ["melt", "glow"]}), tmp_path / "v.parquet")
    sources = discover(tmp_path / "v.parquet", columns={"label": "fx"})
    assert [source.label for source in sources] == ["melt", "glow"]
    assert hashed(sources[0].location).sha256
    assert "holds no bytes" in hashed(sources[1].location).refusal.reason


def test_a_table_that_is_torn_is_a_row_with_a_reason(tmp_path):
    (tmp_path / "v.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "melt").mkdir()
    (tmp_path / "melt" / "a.mp4").write_bytes(b"x")
    (torn,) = [s for s in discover(tmp_path) if s.refusal]
    assert torn.refusal.code == "damaged_table"


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "tga"])
def test_numbered_pictures_are_a_video(tmp_path, suffix):
    pictures(tmp_path / "v" / "melt" / "clip 1", suffix=suffix)
    found = survey(tmp_path / "v")
    (source,) = found.sources
    assert source.uri == f"{tmp_path}/v/melt/clip 1/f_%04d.{suffix}" and source.label == "melt"
    assert found.notes == ["1 inputs are numbered pictures as videos of 24 frames a second"]
    facts = decoded(source.location)
    assert (facts["source_frames"], facts["source_fps"], facts["source_width"]) == (12, 24, 96)
    before = hashed(source.location).sha256, stat(source.location)
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(
        tmp_path / "v" / "melt" / "clip 1" / f"f_0013.{suffix}"
    )
    assert hashed(source.location).sha256 != before[0] and stat(source.location) != before[1]


def test_a_folder_of_pictures_at_the_top_is_its_own_label(tmp_path):
    pictures(tmp_path / "melt")
    assert told(discover(tmp_path)) == {"f_%04d.png": ("melt", None)}
    assert told(discover(tmp_path / "melt")) == {"f_%04d.png": (None, None)}


def test_pictures_count_by_their_number_and_several_sequences_share_their_folders_label(tmp_path):
    pictures(tmp_path / "melt", name="a{:d}", first=5)  # 5 to 16: no leading zeros
    pictures(tmp_path / "melt", name="b_{:03d}")
    sources = discover(tmp_path)
    assert told(sources) == {"a%d.png": ("melt", None), "b_%03d.png": ("melt", None)}
    facts = decoded(sources[0].location)
    assert facts["source_frames"] == 12


def test_a_few_pictures_and_the_posters_of_videos_are_no_video(tmp_path, video):
    pictures(tmp_path / "few", count=7)
    pictures(tmp_path / "posters", name="{:02d}")
    for number in range(1, 13):
        (tmp_path / "posters" / f"{number:02d}.mp4").write_bytes(video)
    assert {source.uri.rpartition(".")[2] for source in discover(tmp_path)} == {"mp4"}


def test_pictures_of_which_some_cannot_be_decoded_are_a_row_with_a_reason(tmp_path):
    folder = pictures(tmp_path / "melt" / "c")
    for number in (3, 4, 5, 6):
        (folder / f"f_{number:04d}.png").write_bytes(b"no picture")
    (source,) = discover(tmp_path)
    with pytest.raises(Rejection) as refused:
        decoded(source.location)
    assert refused.value.code == "damaged"
