"""What `train` is asked for, and what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from training.run.settings import TrainSettings


class Evaluation(Protocol):
    """Figures of held-out data. The module comes with averaged weights and without gradients."""

    def measure(self, module: Any, worker: int, workers: int) -> Any:
        """One worker's share; under ZeRO-3 each forward needs every worker, so all have as many."""

    def row(self, measured: Sequence[Any]) -> dict[str, float]:
        """Figures by name, from the shares of all workers."""


class Samples(Protocol):
    """Something to look at, made by the module with averaged weights and without gradients."""

    def __call__(self, module: Any, folder: Path, worker: int, workers: int, together: bool) -> None:
        """Make one worker's share in `folder`; `together` (ZeRO-3): each forward needs every worker."""


@dataclass(frozen=True)
class TrainJob:
    """What is trained, how, and where it is kept.

    Attributes:
        settings: of the loop.
        module: builds the method's module (frozen backbone and all that trains) inside a worker; picklable.
            Its forward takes a TrainingBatch and returns a Loss: the batch's mean.
        run_dir: the run's folder, on storage that all workers share. A run that is there already goes on.
        run_uri: s3:// address of the copy of it that counts instead, where workers share no disk.
        run_id: names the run in Ray's dashboard.
        identity: what the tensors belong to (method, backbone, data snapshot …), JSON; a run folder with
            another identity is refused.
        config: the complete configuration that the run is part of, JSON; stored with every checkpoint, its
            "train" being the settings above.
        evaluate: after each `evaluate_every` steps; its row is logged as eval/<name>.
        sample: after it; trackers show its *.mp4.
        flops_per_sample: model FLOPs of one sample's forward and backward; logged as MFU on devices whose
            peak is known.
    """

    settings: TrainSettings
    module: Callable[[], nn.Module]
    run_dir: Path
    run_uri: str | None = None
    run_id: str = "train"
    identity: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    evaluate: Evaluation | None = None
    sample: Samples | None = None
    flops_per_sample: float | None = None


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: optimizer steps done in all.
        checkpoint: of that step.
        metrics: the last row of the file at metrics_path.
        seconds: that this call took.
        resumed_from: the step at which this call began.
    """

    step: int
    checkpoint: Path
    metrics: dict[str, float]
    metrics_path: Path
    seconds: float
    resumed_from: int
