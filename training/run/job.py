"""What `train` is asked for, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from training.run.settings import TrainSettings


@dataclass(frozen=True)
class TrainJob:
    """What is trained, how, and where it is kept.

    Attributes:
        settings: of the loop.
        module: builds the method's module (frozen backbone and all that trains) inside a worker; picklable.
            Its forward takes a TrainingBatch and returns a Loss: the batch's mean.
        run_dir: the run's folder, on storage that all workers share. A run that is there already goes on.
        run_id: names the run in Ray's dashboard.
        identity: what the tensors belong to (method, backbone, data snapshot …), JSON; a run folder with
            another identity is refused.
        config: the complete configuration that the run is part of, JSON; stored with every checkpoint, its
            "train" being the settings above.
        evaluate: called by every worker with the module (averaged weights bound, no gradients) and the step
            after each `evaluate_every` steps; what it returns is logged as eval/<name>.
        sample: called after it with the module, the step and the folder for what it makes. Workers that only
            help, because each holds a share of the weights (ZeRO-3), get None for the folder.
        flops_per_sample: model FLOPs of one sample's forward and backward; logged as MFU on devices whose
            peak is known.
    """

    settings: TrainSettings
    module: Callable[[], nn.Module]
    run_dir: Path
    run_id: str = "train"
    identity: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    evaluate: Callable[[nn.Module, int], dict[str, float]] | None = None
    sample: Callable[[nn.Module, int, Path | None], None] | None = None
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
