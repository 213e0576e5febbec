"""Which run a request is: what cannot change its result goes on, what does is said, `--continue` takes it."""

from pathlib import Path

import pytest
import torch

from pipeline.begun import RunPlace, begun_runs, continued, open_place, place_run, read_snapshot
from tests.training.run.saved import whole
from training.errors import TrainingError
from training.run.checkpoint import checkpoint_step, list_checkpoints, read_checkpoint
from training.run.checkpoint_writer import Facts, write_checkpoint
from training.run.settings import TrainSettings

IDENTITY = {"method": {"kind": "video2lora"}, "data": "these clips", "start": None}
ASKED = TrainSettings(steps=12, batch_size=4, workers=2)


def find(runs: Path, go_on: bool = False, identity: dict = IDENTITY, **changed) -> RunPlace:
    return place_run(runs, identity, asked(**changed), go_on)


def asked(**changed) -> TrainSettings:
    return TrainSettings.model_validate(ASKED.model_dump() | changed)


def train(runs: Path, step: int, go_on: bool = False, **changed) -> RunPlace:
    """What a run of these settings leaves behind when it has come to a step."""
    place = find(runs, go_on, **changed)
    folder = open_place(runs, place, "the snapshot", asked(**changed))
    config = {"train": asked(**changed).model_dump(mode="json")}
    shard = whole(step, master={"w": torch.full((2,), float(step))})
    write_checkpoint(folder / "checkpoints", shard, Facts(8 * step, IDENTITY, config))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(f'{{"step": {step}}}\n')
    return place


@pytest.mark.parametrize(
    "changed",
    [
        {"workers": 1, "batch_size": 8},
        {"workers": (1, 2)},
        {"workers": 1, "accumulation": 2},
        {"log_every": 5, "checkpoint_every": 3, "keep_last": 1, "keep_every": 4},
        {"evaluate_every": 4, "evaluation_pairs": 2, "samples": 0, "trackers": ()},
        {"max_grad_norm": 1e6, "max_failures": 0, "memory_gb": 4.0, "zero_stage": 3},
        {"steps": 40},
    ],
)
def test_a_run_goes_on_when_what_changed_cannot_change_its_result(tmp_path, changed):
    run = train(tmp_path, 6)
    found = find(tmp_path, **changed)
    assert (found.run_id, found.step, found.continues) == (run.run_id, 6, None)
    assert found.said[0].startswith("goes on from step 6")


def test_more_steps_than_were_asked_for_extend_a_finished_run(tmp_path):
    run = train(tmp_path, 12)
    assert find(tmp_path).said == ("has its 12 steps already",)
    longer = find(tmp_path, steps=20)
    assert longer.run_id == run.run_id
    assert longer.said == ("goes on from step 12, to 20 where 12 were asked for before",)


def test_fewer_steps_than_a_run_has_make_a_run_apart_that_is_found_again(tmp_path):
    run = train(tmp_path, 12)
    apart = train(tmp_path, 6, steps=6)
    assert apart.run_id != run.run_id and apart.step == 0
    assert apart.said == (f"{run.run_id} has 12 steps already: one of 6 is a run apart",)
    assert find(tmp_path, steps=6).run_id == apart.run_id
    assert find(tmp_path, steps=12).run_id == run.run_id


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"lr": 5e-5}, "train.lr (0.0001, now 5e-05): --continue"),
        ({"clip_norm": 0.05}, "train.clip_norm (1.0, now 0.05)"),
        ({"seed": 3}, "train.seed (0, now 3)"),
        ({"workers": 1}, "train.batch_size × workers × accumulation (8, now 4)"),
        ({"schedule": "cosine"}, "differs in train.schedule (constant, now cosine): --continue"),
    ],
)
def test_what_decides_the_result_begins_a_new_run_and_is_named(tmp_path, changed, says):
    run = train(tmp_path, 12)
    found = find(tmp_path, **changed)
    assert found.run_id != run.run_id and found.step == 0
    (said,) = found.said
    assert said.startswith(f"a run with 12 steps exists ({run.run_id}) and differs in ")
    assert says in said


def test_under_a_cosine_schedule_other_steps_are_another_run_and_it_is_said_why(tmp_path):
    train(tmp_path, 12, schedule="cosine")
    (said,) = find(tmp_path, schedule="cosine", steps=24).said
    assert "train.steps (12, now 24) (a cosine schedule's rates depend on the number of steps)" in said
    assert find(tmp_path, go_on=True, schedule="cosine", steps=24).step == 12


def test_other_clips_begin_a_new_run_and_it_is_said(tmp_path):
    run = train(tmp_path, 12)
    found = find(tmp_path, identity=IDENTITY | {"data": "other clips"})
    assert found.run_id != run.run_id
    assert "is of other data: a new one begins" in found.said[0]


def test_a_first_run_has_nothing_to_say(tmp_path):
    assert find(tmp_path).said == ()


def test_continuing_takes_the_newest_checkpoint_along_and_leaves_the_run_as_it_is(tmp_path):
    first = train(tmp_path, 12)
    found = find(tmp_path, go_on=True, lr=5e-5, steps=24)
    assert found.said == (
        f"goes on from step 12 of {first.run_id}, which differs in train.lr (0.0001, now 5e-05)",
    )
    folder = open_place(tmp_path, found, "another snapshot", asked(lr=5e-5, steps=24))
    (taken,) = list_checkpoints(folder / "checkpoints")
    assert checkpoint_step(taken) == 12
    assert read_checkpoint(taken).identity == IDENTITY
    assert read_snapshot(folder) == "the snapshot"
    assert (folder / "metrics.jsonl").read_text() == '{"step": 12}\n'
    told = continued(folder)
    assert (told["run_id"], told["step"]) == (first.run_id, 12)
    assert {run.run_id for run in begun_runs(tmp_path)} == {first.run_id, found.run_id}
    assert not list(tmp_path.glob(".train-*"))


@pytest.mark.parametrize("own_checkpoint", [False, True])
def test_a_continuation_that_was_stopped_goes_on_by_the_same_command(tmp_path, own_checkpoint):
    train(tmp_path, 12)
    change = {"go_on": True, "lr": 5e-5, "steps": 24}
    if own_checkpoint:
        begun = train(tmp_path, 18, **change)
    else:
        begun = find(tmp_path, **change)
        open_place(tmp_path, begun, "", asked(lr=5e-5, steps=24))
    again = find(tmp_path, **change)
    assert again.run_id == begun.run_id and again.continues is None
    assert again.step == (18 if own_checkpoint else 12)


def test_without_continue_a_continuation_is_not_taken_for_a_run_of_its_settings(tmp_path):
    first = train(tmp_path, 12)
    further = train(tmp_path, 18, go_on=True, lr=5e-5, steps=24)
    found = find(tmp_path, lr=5e-5, steps=24)
    assert found.run_id not in (first.run_id, further.run_id)
    assert f"({further.run_id}) and continues {first.run_id} with these: --continue" in found.said[0]
    assert find(tmp_path).run_id == first.run_id


def test_what_cannot_be_continued_is_one_sentence(tmp_path):
    with pytest.raises(TrainingError, match="--continue: no run of this method"):
        find(tmp_path, go_on=True)
    run = train(tmp_path, 12)
    with pytest.raises(TrainingError, match=f"{run.run_id} has 12 steps already, and 12 are asked"):
        find(tmp_path, go_on=True, lr=5e-5)
    for file in (tmp_path / run.run_id / "checkpoints").rglob("*.safetensors"):
        file.write_bytes(b"torn")
    with pytest.raises(TrainingError, match=r"no checkpoint of .* is whole"):
        find(tmp_path, go_on=True, lr=5e-5, steps=24)
    assert find(tmp_path).said == ("none of its checkpoints is whole: it begins again at step 0",)
