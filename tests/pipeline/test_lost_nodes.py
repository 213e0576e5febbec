"""All stages on a real cluster of two machines, one of which is lost in every stage (lost_nodes.py)."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.store import Catalog
from tests.pipeline.fleet import may_hide
from tests.pipeline.lost_nodes import STEPS, Way, write_inputs
from tests.training.run.small_run import assert_same_run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


class Ways:
    """A folder with `one`, made on one machine, and `two`, on two; and what the second printed."""

    def __init__(self, folder: Path) -> None:
        write_inputs(folder)
        self.folder = folder
        self.one, self.two = Way(folder / "one"), Way(folder / "two")
        words = [sys.executable, "-m", "tests.pipeline.lost_nodes", str(folder)]
        with (folder / "errors").open("wb") as errors:
            going = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            # Beside the other, which waits for seconds until a loss is noticed.
            for stage in (self.one.ingest, self.one.embed, self.one.encode):
                stage()
            self.one.run().train()
            self.one.evaluate_here()
            self.one.generate_here()
            told, _ = going.communicate(timeout=900)
        finally:
            if going.poll() is None:
                going.send_signal(signal.SIGINT)  # it ends its Ray
                going.wait(60)
        assert going.returncode == 0, (folder / "errors").read_text()[-3000:]
        self.told = told.splitlines()


@pytest.fixture(scope="module")
def ways(ray_cluster, tmp_path_factory) -> Ways:
    return Ways(tmp_path_factory.mktemp("ways"))


def rows(way: Way, table: str, key: str, but: tuple[str, ...] = ()) -> dict[str, dict]:
    """By key, what does not tell when or in which run it was made."""
    found = way.catalog.scan(table).to_pylist()
    told = {*but, "created_at", "updated_at", "ingested_at", "run_id", "embedder_at"}
    return {row[key]: {name: value for name, value in row.items() if name not in told} for row in found}


def files(folder: Path, ending: str) -> dict[str, bytes]:
    """By name."""
    return {file.name: file.read_bytes() for file in sorted(folder.glob(f"*{ending}"))}


def test_every_input_is_ingested_once_into_the_same_clips(ways):
    assert "ingest: 1 machines lost, None" in ways.told
    one, two = (
        rows(way, "sources", "source_uri", ("seconds", "cpu_seconds")) for way in (ways.one, ways.two)
    )
    assert len(one) == 6 and {row["outcome"] for row in one.values()} == {"accepted"}
    assert {uri: row["clip_ids"] for uri, row in one.items()} == {
        uri: row["clip_ids"] for uri, row in two.items()
    }
    catalogs: list[Catalog] = [way.catalog for way in (ways.one, ways.two)]
    ids = sorted(catalogs[0].distinct("clips", "clip_id"))
    assert catalogs[0].videos(ids) == catalogs[1].videos(ids)


def test_scores_vectors_categories_and_splits_are_equal_bit_for_bit(ways):
    assert "embed: 1 machines lost, None" in ways.told
    one, two = (rows(way, "clips", "clip_id") for way in (ways.one, ways.two))
    assert len(one) == 6 and all(row["embedding"] is not None for row in one.values())
    assert one == two


def test_features_are_equal_bit_for_bit(ways):
    assert "encode: 1 machines lost, None" in ways.told
    one, two = (rows(way, "features", "clip_id") for way in (ways.one, ways.two))
    assert len(one) == 7
    assert one == two


def test_training_that_lost_a_machine_and_got_another_equals_training_on_one(ways):
    assert f"train: 1 machines lost, {STEPS}" in ways.told
    assert_same_run(*(way.run().job.run_dir for way in (ways.two, ways.one)))


def test_an_evaluation_that_lost_a_machine_has_the_same_clips_and_losses(ways):
    assert "evaluate: 1 machines lost, {}" in ways.told
    one, two = (way.evaluated.folder for way in (ways.one, ways.two))
    videos, losses = files(one / "made", ".mp4"), files(one / "measured", ".json")
    assert len(videos) == 2 and files(two / "made", ".mp4") == videos
    assert len(losses) == 2 and files(two / "measured", ".json") == losses
    assert all("transfer_gap" in json.loads(each) for each in losses.values())


def test_a_list_of_clips_that_lost_a_machine_is_made_whole_and_the_same(ways):
    assert f"generate: 1 machines lost, {['made'] * 3}" in ways.told
    clips = files(ways.one.made, ".mp4")
    assert len(clips) == 3 and files(ways.two.made, ".mp4") == clips


@pytest.mark.skipif(not may_hide(), reason="this user may not give a process a view of the disk of its own")
def test_a_machine_that_does_not_share_the_folder_is_refused_before_work_begins_and_when_it_comes_late(ways):
    said = dict(line.split(" said ", 1) for line in ways.told if " said " in line)
    place = ways.folder / "hidden"
    for command, path in (("train", place), ("evaluate", place), ("batch", place / "made")):
        assert said[command].startswith("NodeUnfit: Machine ")
        assert f"does not see {path};" in said[command]
    assert said["training"].startswith("TrainingError: Machine ")
    assert f"does not see {place}/run;" in said["training"]
