import io
import json
import math
import threading
import time

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.video.transcode import write_video
from training.run.folder import Diverged, LostRun, RunFolder
from training.run.trackers import open_trackers
from training.run.watch import Follow, RunLog, StepClock, diverged, divergence, last_row, read_rows, shrunk


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path, attempt="first")


def test_rows_after_the_step_a_run_goes_on_from_are_cut(folder):
    log = RunLog(folder, step=0)
    for step in range(1, 6):
        log.write({"step": step, "loss": 1 / step})
    log.close()
    with folder.metrics.open("a") as file:
        file.write('{"step": 6, "lo')  # a killed process
    again = RunLog(folder, step=3)
    again.write({"step": 4, "loss": 9.0})
    again.close()
    assert [(row["step"], row["loss"]) for row in read_rows(folder.metrics)] == [
        (1, 1.0),
        (2, 0.5),
        (3, 1 / 3),
        (4, 9.0),
    ]


def test_the_last_row_is_the_last_complete_one(folder):
    assert last_row(folder.metrics) is None
    rows = [{"step": step, "note": "x" * 300} for step in range(200)]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 200')
    assert last_row(folder.metrics) == rows[-1]


def test_tensorboard_shows_the_numbers_of_the_rows_under_headings(folder):
    log = RunLog(folder, 0, open_trackers(["tensorboard"], folder, "run", 0, {}))
    for step in (1, 2):
        row = {"step": step, "loss": 0.25 * step, "eval/gap": 0.5, "eval/pairs_seen": 8, "time": 1e9}
        row |= {"grad_norm": 3.0, "grad_norm/auxiliary": 2.0, "adapter_norm": 1.0, "data_wait": 0.0}
        log.write(row)
    log.close()
    board = EventAccumulator(str(folder.tensorboard))
    board.Reload()
    learnt = {"train/loss", "eval/gap", "grad_norm/all", "grad_norm/auxiliary", "adapter/norm"}
    assert set(board.Tags()["scalars"]) == learnt | {"held_out/pairs_seen", "speed/data_wait"}
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [(1, 0.25), (2, 0.5)]


def test_tensorboard_plays_the_sample_videos(folder):
    video = folder.path / "seen-a--b.mp4"
    write_video(np.random.default_rng(0).integers(0, 255, (9, 48, 640, 3), dtype=np.uint8), 8, video)
    log = RunLog(folder, 0, open_trackers(["tensorboard"], folder, "run", 0, {}))
    log.show([video], step=2)
    log.close()
    board = EventAccumulator(str(folder.tensorboard))
    board.Reload()
    (shown,) = board.Images("samples/seen-a--b")
    picture = Image.open(io.BytesIO(shown.encoded_image_string))
    assert (shown.step, picture.size, picture.n_frames) == (2, (320, 24), 9)
    assert picture.info["duration"] == pytest.approx(125, abs=10)


@pytest.mark.parametrize(
    ("loss", "norm", "why"),
    [
        (math.nan, 1.0, "loss is nan"),
        (math.inf, 1.0, "loss is inf"),
        (1.0, math.nan, "norm is nan"),
        (1.0, 101.0, "exceeds max_grad_norm"),
    ],
)
def test_a_step_that_cannot_be_recovered_from_is_told_with_the_checkpoint_to_go_on_from(
    tmp_path, loss, norm, why
):
    found = divergence(loss, norm, limit=100.0)
    assert why in found
    assert str(tmp_path) in str(diverged(7, found, tmp_path))
    assert divergence(1.0, 99.0, limit=100.0) is None


def test_progress_hears_of_the_last_row_even_when_the_run_ends_at_once(folder):
    heard = []
    with Follow(folder.metrics, 10, lambda done, total, row: heard.append((done, total, row["loss"]))):
        folder.metrics.write_text('{"step": 10, "loss": 0.5}\n')
    assert heard[-1] == (10, 10, 0.5)


def test_the_share_of_waiting_is_a_share_of_the_time_since_the_last_row():
    clock = StepClock(samples_per_step=4)
    with clock.waiting():
        threading.Event().wait(0.5)
    clock.step()
    first = clock.columns()
    clock.step()
    second = clock.columns()
    assert 0.5 < first["data_wait"] <= 1
    assert second["data_wait"] == 0
    assert first["samples_per_second"] == pytest.approx(4 / first["step_seconds"])


def test_what_is_done_between_steps_is_told_by_itself_and_stretches_no_step():
    pause = threading.Event()
    begin = time.perf_counter()
    clock = StepClock(samples_per_step=4)
    with clock.waiting():
        pause.wait(0.05)
    clock.step()
    for name, seconds in (("evaluation", 0.2), ("sampling", 0.05), ("evaluation", 0.1)):
        with clock.apart(name):
            pause.wait(seconds)
    columns = clock.columns()
    wall = time.perf_counter() - begin
    parts = [columns[f"{name}_seconds"] for name in ("step", "evaluation", "sampling")]
    assert parts[0] >= 0.05 and parts[1] >= 0.3 and parts[2] >= 0.05
    assert sum(parts) <= wall  # what is counted twice would not fit
    clock.step()
    assert {"evaluation_seconds", "sampling_seconds"}.isdisjoint(clock.columns())


def test_a_worker_that_was_replaced_may_not_write_any_more(folder):
    old = folder.claim()
    log = RunLog(folder, step=0, allowed=lambda: folder.check_owner(old))
    log.write({"step": 1})
    folder.claim()
    with pytest.raises(LostRun):
        log.write({"step": 2})
    assert [row["step"] for row in read_rows(folder.metrics)] == [1]


def test_what_stopped_a_run_keeps_its_kind_and_counts_for_its_own_attempt_only(folder, tmp_path):
    assert folder.stopped() is None
    folder.stop(Diverged("the loss is nan"))
    stopped = folder.stopped()
    assert type(stopped) is Diverged
    assert str(stopped) == "the loss is nan"
    assert RunFolder(tmp_path, attempt="second").stopped() is None


def test_the_share_of_the_peak_is_told_only_where_the_peak_is_known():
    unknown, known = StepClock(samples_per_step=4), StepClock(samples_per_step=4, useful=0.2)
    for clock in (unknown, known):
        clock.step()
    assert "mfu" not in unknown.columns()
    columns = known.columns()
    assert columns["mfu"] == pytest.approx(0.2 / columns["step_seconds"])


def test_steps_with_fewer_workers_are_told_and_others_are_not():
    rows = [{"step": step, "workers": 4 if step < 3 else 2 if step < 5 else 3} for step in range(1, 7)]
    assert shrunk(rows, 4) == "From step 3 to step 6 only 2 of 4 workers could be had."
    assert shrunk(rows[:2], 4) is None
