"""A run whose folder is in a bucket: what counts there, and going on from it where nothing of it is."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from tests.faulty_store import BUSY, DENIED, PASS, RESET, WRITES, now_and_then
from tests.s3_bucket import new_bucket
from tests.training.run.small_run import assert_same_run
from tests.training.run.toy import ToyStream, toy_job
from training import objects
from training.errors import TrainingError
from training.objects import StoreError, listed
from training.run.bucket import RunBucket
from training.run.checkpoint import STATE, Shard, list_checkpoints, read_checkpoint
from training.run.checkpoint_writer import CheckpointWriter, Facts, write_checkpoint
from training.run.folder import LostRun, RunBusy, RunFolder
from training.run.loop import train


@pytest.fixture
def bucket(store, s3_endpoint) -> RunBucket:
    return RunBucket(f"s3://{new_bucket(s3_endpoint)}/runs/train-1")


def shard(step: int, value: float = 1.0) -> Shard:
    values = {f"{kind}/w": torch.full((4,), value + step) for kind in ("master", "exp_avg", "exp_avg_sq")}
    return Shard(step, {"w": (2, 2)}, {"w": 0}, values)


def save(folder: Path, step: int, bucket: RunBucket, value: float = 1.0) -> Path:
    return write_checkpoint(folder, shard(step, value), Facts(4 * step), bucket=bucket)


def test_errors_slow_answers_and_resets_lose_no_checkpoint(store, bucket, tmp_path):
    store.fault = now_and_then
    writer = CheckpointWriter(tmp_path / "here", keep_last=2, bucket=bucket)
    for step in (2, 4, 6):
        writer.save(shard(step), Facts(4 * step))
    writer.wait()
    assert bucket.steps() == [4, 6]
    found = read_checkpoint(bucket.fetch_newest(tmp_path / "elsewhere"))
    assert (found.step, found.samples) == (6, 24)
    assert torch.equal(found.tensor("master", "w"), torch.full((2, 2), 7.0))
    assert store.met[BUSY] and store.met[RESET]


def test_a_crash_between_two_objects_leaves_the_older_checkpoint_the_newest(bucket, tmp_path):
    save(tmp_path / "here", 2, bucket)
    later = save(tmp_path / "apart", 4, RunBucket(bucket.uri + "-other"))
    bucket.put_shard(4, next(later.glob("shard-*")))
    assert bucket.steps() == [2]
    assert bucket.fetch_newest(tmp_path / "elsewhere").name == "step-00000002"
    bucket.forget_after(2)
    assert not [name for name in listed(bucket.uri) if "00000004" in name]


def test_a_file_of_the_same_size_that_is_another_runs_is_not_taken_for_the_same(bucket, tmp_path):
    save(tmp_path / "here", 2, bucket)
    save(tmp_path / "elsewhere", 2, RunBucket(bucket.uri + "-other"), value=5.0)
    found = read_checkpoint(bucket.fetch_newest(tmp_path / "elsewhere"))
    assert torch.equal(found.tensor("master", "w"), torch.full((2, 2), 3.0))


def test_what_the_bucket_lacks_does_not_count_here(bucket, tmp_path):
    save(tmp_path / "here", 2, bucket)
    write_checkpoint(tmp_path / "here", shard(4), Facts(16))
    bucket.fetch_newest(tmp_path / "here")
    assert [path.name for path in list_checkpoints(tmp_path / "here")] == ["step-00000002"]


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(bucket, tmp_path):
    for step in (2, 4):
        save(tmp_path / "here", step, bucket)
    objects.put(b"damaged", f"{bucket.uri}/checkpoints/step-00000004/shard-00000-of-00001.safetensors")
    assert bucket.fetch_newest(tmp_path / "elsewhere").name == "step-00000002"


def test_whoever_begins_last_goes_on_and_the_one_before_commits_nothing(bucket, tmp_path):
    first = RunFolder(tmp_path / "one", "first", bucket)
    second = RunFolder(tmp_path / "two", "second", bucket)
    for folder in (first, second):
        folder.path.mkdir()
    with first.held():
        token = first.claim()
        newer = first.claim()
        with pytest.raises(LostRun, match="newer worker group"):
            first.check_writer(token)
        first.check_writer(newer)
        with second.held():
            for act in (lambda: first.check_writer(newer), first.claim):
                with pytest.raises(RunBusy, match="began after this one and goes on"):
                    act()
            second.check_writer(second.claim())


@dataclass
class AtStore(ToyStream):
    """A stream whose workers, wherever they came from, find the store at this address."""

    url: str = ""

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        os.environ["AWS_ENDPOINT_URL"] = self.url


def test_a_run_that_its_bucket_stopped_goes_on_where_nothing_of_it_is(ray_cluster, store, bucket, tmp_path):
    def job(folder: str):
        return replace(toy_job(tmp_path / folder, max_failures=0), run_uri=bucket.uri)

    plain = train(toy_job(tmp_path / "plain"), ToyStream())
    # The second checkpoint's shard arrives, and what would make it one does not.
    store.fault = lambda method, path, number: (
        DENIED if method in WRITES and f"step-00000004/{STATE}" in path else PASS
    )
    with pytest.raises(TrainingError, match=r"refuses access to .*what they may read and write") as stopped:
        train(job("one"), AtStore(url=store.url))
    assert "\n" not in str(stopped.value)
    assert bucket.steps() == [2]
    store.fault = lambda method, path, number: PASS
    gone_on = train(job("two"), AtStore(url=store.url))
    assert (gone_on.resumed_from, gone_on.step) == (2, 6)
    assert_same_run(gone_on.metrics_path.parent, plain.metrics_path.parent)
    assert [json.loads(line)["step"] for line in bucket.read("metrics.jsonl").splitlines()] == [*range(1, 7)]
    assert bucket.steps()[-1] == 6


def test_a_bucket_that_takes_nothing_is_one_sentence_before_a_worker_is_asked_for(store, bucket, tmp_path):
    store.fault = lambda method, path, number: DENIED if method in WRITES else PASS
    with pytest.raises(StoreError, match="refuses access"):
        train(replace(toy_job(tmp_path), run_uri=bucket.uri), ToyStream())
