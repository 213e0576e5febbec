"""A list of clips: refused as a whole where it cannot be, else a row for each, made once."""

import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from ray._private.state import actors

from pipeline.batch import RESULTS, ClipMaker, is_made, lineage_of, make_batch
from pipeline.batch_file import BadBatchFile, read_batch
from pipeline.samples.draw import draw_clip
from pipeline.video.transcode import encode_video
from tests.pipeline.made import make_catalog
from training.backbones.settings import BackboneSettings
from training.release import shipped_model
from training.settings import GenerateSettings

QUICK = GenerateSettings(steps=2, guidance=1.0)
MODEL = shipped_model()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    (folder / "melt.mp4").write_bytes(encode_video(draw_clip(3, 49, 64, 96)[0], 8))
    (folder / "odd.mp4").write_bytes(b"no video")
    Image.new("RGB", (96, 64), (120, 80, 40)).save(folder / "mug.png")
    return folder


@pytest.fixture(scope="module")
def catalog(place):
    return make_catalog(place, {"known": ("glow", "glow")})


def listed(place: Path, name: str, text: str) -> Path:
    (place / name).write_text(text)
    return place / name


def read(place: Path, catalog, name: str, text: str, **settings):
    chosen = QUICK.model_copy(update=settings)
    return read_batch(listed(place, name, text), place / "out", catalog, chosen, MODEL.model_id)


def test_csv_and_jsonl_say_the_same(place, catalog):
    csv = (
        "reference,first_frame,prompt,seed,strength,output,polish\n"
        'melt.mp4=0.7;known=0.3,mug.png,"a mug, red",3,-0.5,a/one.mp4,\n'
        "\n"
        "known,mug.png,,,,two.mp4,2\n"
    )
    jsonl = "\n".join(
        json.dumps(row)
        for row in (
            {
                "reference": ["melt.mp4=0.7", "known=0.3"],
                "first_frame": "mug.png",
                "prompt": "a mug, red",
                "seed": 3,
                "strength": -0.5,
                "output": "a/one.mp4",
            },
            {"reference": "known", "first_frame": "mug.png", "prompt": "", "output": "two.mp4", "polish": 2},
        )
    )
    one, other = read(place, catalog, "list.csv", csv), read(place, catalog, "list.jsonl", jsonl)
    assert [each.digest for each in one] == [each.digest for each in other]
    assert one[0].effects == ((str(place / "melt.mp4"), 0.7, False), ("known", 0.3, False))
    assert one[0].settings.seed == 3 and one[0].settings.strength == -0.5 and one[0].steps == 2
    assert one[0].output == place / "out" / "a" / "one.mp4"
    assert one[1].settings.polish.steps == 2 and one[1].prompt == "" and one[1].steps == 4
    assert [each.line for each in one] == [2, 4] and [each.line for each in other] == [1, 2]


HEAD = "reference,first_frame,prompt,output,seed\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "", "no column 'first_frame'"),
        ("a.csv", "reference,prompt\n", "no column 'first_frame'"),
        ("a.csv", "first_frame,prompt\n", "no column 'reference'"),
        ("a.csv", HEAD, "asks for no clip"),
        ("a.csv", HEAD.replace("seed", "sede"), "column 'sede', which means nothing"),
        ("a.csv", HEAD + "melt.mp4,mug.png\n", "line 2: it has more or fewer cells"),
        ("a.csv", HEAD + "melt.mp4,mug.png,a,b.mp4,1,2\n", "line 2: it has more or fewer cells"),
        (
            "a.csv",
            HEAD + "gone,mug.png,a,b.mp4,1\n",
            "line 2: reference 'gone' is neither a file nor a clip_id",
        ),
        ("a.csv", HEAD + "melt.mp4,gone.png,a,b.mp4,1\n", "first_frame 'gone.png'"),
        ("a.csv", HEAD + ",mug.png,a,b.mp4,1\n", "names no reference"),
        ("a.csv", HEAD + "melt.mp4=much,mug.png,a,b.mp4,1\n", "line 2: .*no weight"),
        ("a.csv", HEAD + "melt.mp4=1;known,mug.png,a,b.mp4,1\n", "some have none"),
        ("a.csv", HEAD + "melt.mp4,mug.png,a,b.mp4,-1\n", "line 2: seed '-1'"),
        (
            "a.csv",
            HEAD + "melt.mp4,mug.png,a,b.mp4,1\nknown,mug.png,a,b.mp4,1\n",
            "lines 2 and 3: both would write",
        ),
        ("a.csv", HEAD + "melt.mp4,mug.png,a,,1\nmelt.mp4,mug.png,a,,1\n", "lines 2 and 3: both would write"),
        ("a.csv", HEAD + "melt.mp4,mug.png,a,../b.mp4,1\n", "should be an .mp4 inside"),
        ("a.csv", HEAD + "melt.mp4,mug.png,a,/b.mp4,1\n", "should be an .mp4 inside"),
        ("a.csv", HEAD + "melt.mp4,mug.png,a,b.gif,1\n", "should be an .mp4 inside"),
        ("a.csv", HEAD + '"melt.mp4,mug.png,a,b.mp4,1\n', "line"),
        ("a.jsonl", "{", "line 1 is no JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is no JSON"),
        ("a.jsonl", "[1]", "no JSON object"),
        ("a.jsonl", '{"reference": 3, "first_frame": "mug.png", "prompt": "a"}', "3 is no text"),
        ("a.jsonl", '{"reference": "melt.mp4", "first_frame": 3, "prompt": "a"}', "'first_frame' is missing"),
        ("a.jsonl", '{"adapter": "gone.safetensors", "first_frame": "mug.png", "prompt": "a"}', "is no file"),
        ("a.txt", "reference", "neither .csv nor .jsonl"),
    ],
)
def test_a_list_that_cannot_be_worked_off_is_one_sentence_with_its_line(place, catalog, name, text, says):
    with pytest.raises(BadBatchFile, match=says) as refused:
        read(place, catalog, name, text)
    assert name in str(refused.value) and "\n" not in str(refused.value)


def test_a_list_that_cannot_be_read_is_one_sentence(place, catalog):
    (place / "latin.csv").write_bytes(b"\xff\xfe")
    for name, says in (("missing.csv", "cannot be read"), ("latin.csv", "not UTF-8")):
        with pytest.raises(BadBatchFile, match=says):
            read_batch(place / name, place, catalog, QUICK, "m")


@pytest.mark.parametrize(("more", "same"), [({}, True), ({"seed": 1}, False), ({"strength": 0.5}, False)])
def test_a_request_is_another_one_where_its_clip_would_be(place, catalog, more, same):
    text = "reference,first_frame,prompt\nmelt.mp4,mug.png,a\n"
    one, other = read(place, catalog, "d.csv", text)[0], read(place, catalog, "d.csv", text, **more)[0]
    assert (one.digest == other.digest) == same and (one.output == other.output) == same


ARGUMENTS = (MODEL, BackboneSettings(**MODEL.facts["backbone"]), QUICK)
# A command of its own on the Ray of the test; it has everything from a file.
DRIVER = """
import pickle, sys
import ray
from pipeline.batch import make_batch
ray.init(address=sys.argv[1], log_to_driver=False)
with open(sys.argv[2], "rb") as file:
    make_batch(*pickle.load(file), workers=2)
"""


def workers_now() -> int:
    """Whoever's they are; loading or at work."""
    named = [each for each in actors().values() if each["ActorClassName"] == ClipMaker.__name__]
    return sum(each["State"] != "DEAD" for each in named)


def killed_in_the_middle(wanted, folder: Path, catalog, address: str) -> dict[Path, int]:
    """A batch of two workers whose process is killed when two clips are there; what is there, since when.

    Fails where its two workers are never seen at once.
    """
    given = folder.with_suffix(".pickle")
    given.write_bytes(pickle.dumps((wanted, folder, catalog, *ARGUMENTS)))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, address, str(given)])
    workers = 0
    try:
        while sum(map(is_made, wanted)) < 2:
            assert driver.poll() is None, "it ended before two were made"
            workers = max(workers, workers_now())
            time.sleep(0.05)
    finally:
        driver.kill()
        driver.wait()
    assert workers == 2
    return {each.output: each.output.stat().st_mtime_ns for each in wanted if each.output.exists()}


@pytest.mark.slow
def test_a_batch_of_several_workers_goes_on_where_it_was_killed_and_what_fails_has_a_reason(
    place, catalog, ray_cluster
):
    rows = [("melt.mp4", 1), ("odd.mp4", 1), *(("known", seed) for seed in range(4))]
    text = HEAD + "".join(f"{name},mug.png,a mug,{n}.mp4,{seed}\n" for n, (name, seed) in enumerate(rows))
    wanted = read(place, catalog, "made.csv", text)
    folder, told = place / "out", []
    address = ray_cluster.get_runtime_context().gcs_address
    there = killed_in_the_middle(wanted, folder, catalog, address)
    assert 2 <= len(there) < 5
    torn, _ = there.popitem()  # is no clip
    torn.write_bytes(torn.read_bytes()[:1000])
    made = make_batch(wanted, folder, catalog, *ARGUMENTS, 2, lambda *row: told.append(row[:2]))
    status = {Path(each.output): each.status for each in made}
    assert [each.status == "failed" for each in made] == [False, True, *[False] * 4]
    assert {status[path] for path in there} == {"kept"} and status[torn] == "made"
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert "odd.mp4" in made[1].reason and "cannot be used" in made[1].reason
    assert told[-1][0] == told[-1][1] and all(done <= total for done, total in told)
    assert [is_made(each) for each in wanted] == [True, False, *[True] * 4]
    assert lineage_of(wanted[0].output)["reference"] == "a file"
    written = [json.loads(line) for line in (folder / RESULTS).read_text().splitlines()]
    assert [row["status"] for row in written] == [each.status for each in made]


@pytest.mark.slow
def test_a_clip_that_finds_the_disk_full_is_a_row_with_a_reason_and_leaves_nothing(
    place, catalog, small_disk
):
    text = HEAD + "known,mug.png,a mug,a.mp4,1\n"
    wanted = read_batch(listed(place, "full.csv", text), small_disk, catalog, QUICK, MODEL.model_id)[0]
    outcome = ClipMaker(catalog, *ARGUMENTS).make(wanted)
    assert (outcome.status, outcome.reason) == (
        "failed",
        "It cannot be written: No space left on device.",
    )
    assert list(small_disk.iterdir()) == []
