"""Where the rows of a run go besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow."""

import logging
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from training.errors import TrainingError
from training.run.folder import RunFolder
from training.run.gif import gif

LOGGER = logging.getLogger(__name__)
# Setting → the package that it needs.
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


class TrackerMissing(TrainingError):
    """A tracker was asked for whose package is not installed."""


class TrackerUnreachable(TrainingError):
    """A tracker was asked for that does not take this run: no login, no server, no store."""


class Tracker(Protocol):
    """One place that shows a run's numbers."""

    def write(self, values: dict[str, float], step: int) -> None:
        """Numbers by name, after `step` optimizer steps."""

    def show(self, videos: Sequence[Path], step: int) -> None:
        """Video files, each shown as samples/<its name>."""

    def close(self) -> None:
        """Everything written is delivered when this returns."""


class TensorBoard:
    """Event files in the run's folder; those of steps after `step` are hidden, for the run goes on there."""

    def __init__(self, folder: RunFolder, run_id: str, step: int, config: dict):
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._board = SummaryWriter(folder.tensorboard, purge_step=step + 1, flush_secs=10)

    def write(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def show(self, videos: Sequence[Path], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        for video in videos:
            moving, width, height = gif(video)
            image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=moving)
            value = Summary.Value(tag=f"samples/{video.stem}", image=image)
            self._board.file_writer.add_summary(Summary(value=[value]), step)

    def close(self) -> None:
        self._board.close()


class WandB:
    """A run of Weights & Biases under the run's own id; a run that goes on is resumed there.

    What a run that goes on repeats is the same as before, and W&B keeps the first.
    """

    def __init__(self, folder: RunFolder, run_id: str, step: int, config: dict):
        import wandb

        try:
            self._run = wandb.init(
                project="video2lora",
                id=run_id,
                name=run_id,
                dir=str(folder.path),
                resume="allow",
                config=config,
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            raise unreachable("wandb", error, "`wandb login` or WANDB_MODE=offline helps") from error

    def write(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def show(self, videos: Sequence[Path], step: int) -> None:
        from wandb import Video

        self._run.log({f"samples/{video.stem}": Video(str(video)) for video in videos}, step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run of MLflow; where it is kept MLFLOW_TRACKING_URI says. A run that goes on is resumed there.

    A server that fails later costs rows there and not the run: metrics.jsonl has them all.
    """

    def __init__(self, folder: RunFolder, run_id: str, step: int, config: dict):
        import mlflow

        self._mlflow = mlflow
        self._failed = False
        known = folder.path / "mlflow_run"
        earlier = known.read_text() if known.exists() else None
        try:
            mlflow.set_experiment("video2lora")
            run = mlflow.start_run(run_id=earlier, run_name=run_id)
            if earlier is None:
                known.write_text(run.info.run_id)
                mlflow.log_dict(config, "config.json")
        except mlflow.exceptions.MlflowException as error:
            raise unreachable("mlflow", error, "MLFLOW_TRACKING_URI names the server") from error

    def write(self, values: dict[str, float], step: int) -> None:
        self._try(self._mlflow.log_metrics, values, step=step)

    def show(self, videos: Sequence[Path], step: int) -> None:
        for video in videos:
            self._try(self._mlflow.log_artifact, str(video), f"samples/step-{step:08d}")

    def close(self) -> None:
        self._try(self._mlflow.end_run)

    def _try(self, act: Callable, *values, **named) -> None:
        try:
            act(*values, **named)
        except (self._mlflow.exceptions.MlflowException, OSError) as error:
            if not self._failed:
                LOGGER.warning("MLflow does not take all rows; the run goes on without it. %s", error)
            self._failed = True


TRACKERS: dict[str, type] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


def unreachable(name: str, error: Exception, helps: str) -> TrackerUnreachable:
    """The sentence for a tracker that refused a run; only the first line of what it says itself."""
    said = str(error).strip().partition("\n")[0].removesuffix(".")
    return TrackerUnreachable(
        f"The tracker {name!r} cannot be used ({said}): {helps}, or leave it out of `train.trackers`."
    )


def require_trackers(names: Iterable[str]) -> None:
    """Check that what the trackers need is installed; nothing is imported.

    Raises:
        TrackerMissing: naming the package and how to install it.
    """
    for name in names:
        package = PACKAGES[name]
        if find_spec(package) is None:
            raise TrackerMissing(
                f"The tracker {name!r} needs the package {package}, which is not installed: `pip install "
                f"{package}`, or leave it out of `train.trackers`."
            )


def open_trackers(
    names: Iterable[str], folder: RunFolder, run_id: str, step: int, config: dict
) -> list[Tracker]:
    """The trackers of a run that goes on from `step`; `config` is what they show as its configuration.

    Raises:
        TrackerUnreachable: one that does not take the run.
    """
    return [TRACKERS[name](folder, run_id, step, config) for name in names]
