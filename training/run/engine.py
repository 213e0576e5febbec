"""A DeepSpeed engine in this project's terms: named trainable tensors in fp32, whatever the ZeRO stage.

Only parameters that train are given to the optimizer. The frozen backbone therefore has one copy per worker,
in the run's precision, and no gradient, master weight or moment (ZeRO-3 also shards that one copy).
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed
import torch.distributed as dist

from training.run.checkpoint import Checkpoint, Shard
from training.run.schedule import ema_decay, worker_accumulation
from training.run.settings import TrainSettings
from training.run.shares import EMA, MASTER, MOMENTS, Shares

# On CPUs DeepSpeed compiles a shared-memory all-reduce at start, which only its inference uses. Without it no
# compiler is needed, and no two workers race for one build folder.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
deepspeed.utils.logger.setLevel(logging.WARNING)

# DeepSpeed reduces a bucket as soon as it is full: several of them, so that reducing overlaps with computing.
BUCKETS, LEAST_BUCKET, LARGEST_BUCKET = 8, 2**20, 250_000_000


def deepspeed_config(settings: TrainSettings, world_size: int, on_gpu: bool, trainable: int) -> dict:
    """What `deepspeed.initialize` is given, for a number of `trainable` values.

    Gradients are reduced in fp32 in both precisions. A bucket is a buffer, allocated whole: DeepSpeed's
    default of 500 million values would take 2 GB whatever the size of what trains.
    """
    bucket = min(trainable, LARGEST_BUCKET, max(LEAST_BUCKET, -(-trainable // BUCKETS)))
    config = {
        "train_micro_batch_size_per_gpu": settings.batch_size,
        "gradient_accumulation_steps": worker_accumulation(settings, world_size),
        "gradient_clipping": settings.clip_norm,
        "steps_per_print": None,
        "communication_data_type": "fp32",
        "bf16": {"enabled": settings.precision == "bf16"},
        "zero_optimization": {
            "stage": settings.zero_stage,
            "overlap_comm": on_gpu,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        },
    }
    if settings.precision == "bf16" and settings.zero_stage > 0:
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config


class _Objective(nn.Module):
    """The module's loss as plain tensors: DeepSpeed hooks tensors, and finds none in a dataclass."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, batch) -> tuple[Tensor, dict[str, Tensor]]:
        output = self.module(batch)
        return output.loss, output.metrics


class Engine:
    """One module under DeepSpeed.

    Args:
        module: its forward returns a value with `.loss`; parameters that require a gradient are trained.
        settings: of the run.
        world_size: number of workers; torch.distributed is initialised.
        device: where the module computes.
        resume: the checkpoint to start from; a new run starts from the module's own weights.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: TrainSettings,
        world_size: int,
        device: torch.device,
        resume: Checkpoint | None = None,
    ):
        self.settings = settings
        self._trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._shapes = {name: tuple(p.shape) for name, p in self._trainable.items()}
        first: dict[str, Tensor] = {}
        with torch.no_grad():
            if resume is not None:
                for name, parameter in self._trainable.items():
                    parameter.copy_(resume.tensor(MASTER, name))
            elif settings.precision == "bf16":
                # DeepSpeed makes masters of what it has rounded before; the tensors themselves stay until
                # this worker's share of them has been taken.
                first = {name: p.detach() for name, p in self._trainable.items()}
        if settings.precision == "fp32":
            for parameter in module.parameters():
                parameter.data = parameter.data.float()
        trainable = sum(parameter.numel() for parameter in self._trainable.values())
        deepspeed.init_distributed(dist_init_required=False)
        # The learning rate is set before each step; zero until then.
        optimizer = torch.optim.AdamW(
            list(self._trainable.values()),
            lr=0.0,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )
        self.engine, wrapped, _, _ = deepspeed.initialize(
            model=_Objective(module),
            optimizer=optimizer,
            config=deepspeed_config(settings, world_size, device.type == "cuda", trainable),
            dist_init_required=False,
        )
        self._adam = optimizer
        self._shares = Shares(
            self._trainable, optimizer, wrapped, settings.zero_stage, dist.get_rank(), world_size
        )
        self._keys = (*MOMENTS, *([EMA] if settings.ema_decay is not None else []))
        self._begin(resume, first)

    @property
    def module(self) -> nn.Module:
        return self.engine.module.module

    def close(self) -> None:
        """Give back what DeepSpeed hooked into the module."""
        self.engine.destroy()

    def accumulate(self, batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Forward and backward of one micro-batch; returns its loss (scalar) and metrics, detached."""
        loss, metrics = self.engine(batch)
        self.engine.backward(loss)
        return loss.detach(), {name: value.detach() for name, value in metrics.items()}

    def step(self, learning_rate: float) -> None:
        """Update the weights at the end of an accumulation.

        Every call of `accumulate` but the last one of a step is followed by `skip` instead.
        """
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self.engine.step()

    def skip(self) -> None:
        """Tell DeepSpeed that another micro-batch of the same step follows."""
        self.engine.step()

    def update_ema(self, step: int) -> None:
        """Move the average towards the weights after `step` steps; it is sharded as the moments are."""
        if self.settings.ema_decay is None:
            return
        decay = ema_decay(step, self.settings.ema_decay)
        for tensor in self._shares.stepped():
            self._adam.state[tensor][EMA].lerp_(tensor.detach(), 1 - decay)

    def gradient_squares(self) -> dict[str, Tensor]:
        """Squared norm of this worker's share of each part's gradient, before clipping, on the device.

        Their sum over the workers is the part's. A part is what `parameter_groups` names, if the module has
        it. To be called between a step's last `accumulate` and `step`; nothing waits for the device here.
        """
        groups = getattr(self.module, "parameter_groups", lambda: {"all": list(self._trainable.values())})()
        part = {id(parameter): name for name, members in groups.items() for parameter in members}
        gradients: dict[str, list[Tensor]] = {name: [] for name in groups}
        for share in self._shares.own:
            gradients[part[id(self._trainable[share.name])]].append(self._shares.gradient(share))
        return {
            name: (nn.utils.get_total_norm(members) if members else torch.zeros(())).double().square()
            for name, members in gradients.items()
        }

    def shard(self) -> Shard:
        """A copy of this worker's share of the state, for a checkpoint."""
        values = {
            f"{key}/{share.name}": self._shares.values(share, key).to("cpu", copy=True)
            for share in self._shares.own
            for key in (MASTER, *self._keys)
        }
        starts = {share.name: share.start for share in self._shares.own}
        return Shard(self._shares.steps(), self._shapes, starts, values)

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """Compute with the averaged weights inside the block (the ordinary ones where there is no EMA)."""
        if self.settings.ema_decay is None:
            yield
            return
        ordinary = {}
        with (
            deepspeed.zero.GatheredParameters(list(self._trainable.values()), modifier_rank=0),
            torch.no_grad(),
        ):
            for name, parameter in self._trainable.items():
                average = self._shares.whole(name, EMA)
                ordinary[name] = parameter.detach().clone()
                parameter.copy_(average)
        try:
            yield
        finally:
            with (
                deepspeed.zero.GatheredParameters(list(self._trainable.values()), modifier_rank=0),
                torch.no_grad(),
            ):
                for name, parameter in self._trainable.items():
                    parameter.copy_(ordinary[name])

    def _begin(self, resume: Checkpoint | None, first: dict[str, Tensor]) -> None:
        """Set the optimizer's state: of a checkpoint, or of a new run that begins with the tensors `first`
        (with the ones that DeepSpeed took where they are not named)."""
        self._shares.begin(resume.step if resume else 0, self._keys)
        stored = resume.kinds if resume else set()
        for share in self._shares.held:
            name, start, stop = share
            master = self._shares.values(share, MASTER)
            if resume is not None:
                for key in {MASTER, *self._keys} & stored:
                    self._shares.values(share, key).copy_(resume.values(key, name, start, stop))
            elif name in first:
                master.copy_(first[name].reshape(-1)[start:stop])
            if EMA in self._keys and EMA not in stored:
                self._shares.values(share, EMA).copy_(master)
