"""Everything about a training run that is not the model and not the data, in one validated value."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.backbones.settings import FolderOrName

Positive = Annotated[int, Field(ge=1)]


# Where a run trains, how its memory is spent, what is kept and how it is shown: a run goes on when these
# change. Of batch_size, workers and accumulation only the product decides which samples a step takes.
INCIDENTAL = frozenset(
    {
        "accumulation",
        "activation_checkpointing",
        "batch_size",
        "checkpoint_every",
        "compile",
        "device",
        "evaluate_every",
        "evaluation_pairs",
        "growth_seconds",
        "keep_every",
        "keep_last",
        "log_every",
        "max_failures",
        "max_grad_norm",
        "max_preemptions",
        "memory_gb",
        "samples",
        "trackers",
        "worker_cpus",
        "worker_threads",
        "workers",
        "zero_stage",
    }
)


class TrainSettings(BaseModel):
    """How the loop runs. The resolved value is stored with every checkpoint.

    The number of samples of one optimizer step is batch_size · workers · accumulation. With elastic workers
    `(min, max)` it is computed from max, and accumulation grows when fewer workers are there, so that a step
    stays the same step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: Positive = Field(20_000, description="optimizer steps of the whole run")
    batch_size: Positive = Field(1, description="samples per worker and micro-batch")
    workers: Positive | tuple[Positive, Positive] = Field(1, description="a number, or (min, max): elastic")
    growth_seconds: float = Field(
        60.0,
        ge=1,
        description="between looks for room for more elastic workers, who begin at the newest checkpoint",
    )
    accumulation: Positive = Field(1, description="micro-batches per optimizer step")
    seed: int = Field(0, ge=0, lt=2**31, description="initial weights and the per-step random state")
    start_from: FolderOrName | None = Field(
        None, description='a model folder to begin with, "pocket" for the shipped one; null: random weights'
    )

    teacher: str | None = Field(
        None,
        description="stored adapters that are learned to be predicted, in the place of velocities, by the"
        " name that `adapter fill` gives them; null: the clips teach",
    )

    lr: float = Field(1e-4, gt=0, le=1)
    warmup_steps: int = Field(0, ge=0, description="of linear rise; a shorter run stays in it")
    schedule: Literal["constant", "cosine"] = Field("constant", description="after the warm-up")
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0, le=1e-2)
    weight_decay: float = Field(0.01, ge=0, le=1)
    clip_norm: float = Field(1.0, ge=0, description="of the gradient of all trainable tensors; 0 never clips")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="no moving average when null")

    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16 keeps fp32 master weights")
    zero_stage: Literal[0, 1, 2, 3, "auto"] = Field(1, description="auto: the cheapest that fits")
    activation_checkpointing: Literal["none", "full", "auto"] | Positive = Field(
        "none", description="full: recompute every block in backward; a number n: every n-th; auto: what fits"
    )
    memory_gb: float | None = Field(
        None, gt=0, description="of one worker's device; null: the GPU's, or its share of the host's"
    )
    compile: bool = Field(False, description="torch.compile every transformer block")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: GPUs when the cluster has any")
    worker_cpus: float = Field(0.5, gt=0, description="logical CPUs of a worker; data tasks use the rest")
    worker_threads: Positive | None = Field(
        None, description="torch threads per worker; null: share the cores"
    )

    checkpoint_every: Positive = Field(500, description="optimizer steps; the last step is always saved")
    keep_last: Positive = Field(3, description="newest checkpoints that are kept")
    keep_every: Positive | None = Field(None, description="checkpoints at multiples of this are kept as well")
    log_every: Positive = 1
    evaluate_every: Positive | None = Field(None, description="steps between looks at held-out clips")
    evaluation_pairs: Positive = Field(64, description="at most so many held-out pairs, seen and unseen each")
    samples: int = Field(2, ge=0, description="videos generated at each evaluation, from held-out pairs")
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = Field(
        ("tensorboard",), description="where rows go besides metrics.jsonl"
    )
    max_grad_norm: float = Field(1e4, gt=0, description="a larger gradient norm stops the run as exploding")
    max_failures: int = Field(3, ge=-1, description="restarts after a lost worker; -1 without limit")
    max_preemptions: int = Field(
        -1, ge=-1, description="restarts after a machine that was taken away with notice; -1 without limit"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "TrainSettings":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}; both lie in [0, 1)")
        if self.min_workers > self.max_workers:
            raise ValueError(f"workers={self.workers}: the minimum comes first")
        return self

    @property
    def min_workers(self) -> int:
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def max_workers(self) -> int:
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def samples_per_step(self) -> int:
        """Samples of one optimizer step, over all workers and micro-batches."""
        return self.batch_size * self.max_workers * self.accumulation

    def decisive(self) -> dict[str, Any]:
        """What decides the tensors at every step, JSON; its start and its teacher are told apart.

        A constant schedule does not look at the number of steps: a longer run is the same run, further on.
        """
        values = self.model_dump(mode="json", exclude=INCIDENTAL | {"start_from", "teacher"})
        if self.schedule == "constant":
            del values["steps"]
        return values | {"samples_per_step": self.samples_per_step}
