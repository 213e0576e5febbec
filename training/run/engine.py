"""A DeepSpeed engine in this project's terms: named trainable tensors in fp32, whatever the ZeRO stage.

Only parameters that train are given to the optimizer. The frozen backbone therefore has one copy per worker,
in the run's precision, and no gradient, master weight or moment (ZeRO-3 also shards that one copy).
"""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_grad,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)

from training.run.checkpoint import OptimizerState
from training.run.schedule import ema_decay, worker_accumulation
from training.run.settings import TrainSettings

# On CPUs DeepSpeed compiles a shared-memory all-reduce at start, which only its inference uses. Without it no
# compiler is needed, and no two workers race for one build folder.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
deepspeed.utils.logger.setLevel(logging.WARNING)

MOMENTS = ("exp_avg", "exp_avg_sq")


def deepspeed_config(settings: TrainSettings, world_size: int, on_gpu: bool, trainable: int) -> dict:
    """What `deepspeed.initialize` is given, for a number of `trainable` values.

    Gradients are reduced in fp32 in both precisions. A bucket is a buffer, allocated whole: DeepSpeed's
    default of 500 million values would take 2 GB whatever the size of what trains.
    """
    bucket = min(trainable, 500_000_000)
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
        resume: the optimizer's state to start from; a new run starts from the module's own weights.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: TrainSettings,
        world_size: int,
        device: torch.device,
        resume: OptimizerState | None = None,
    ):
        self.settings = settings
        self._trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if resume is None:
            masters = {name: p.detach().float().cpu().clone() for name, p in self._trainable.items()}
            resume = OptimizerState(step=0, masters=masters)
        with torch.no_grad():
            for name, parameter in self._trainable.items():
                parameter.copy_(resume.masters[name])
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
        self.engine, self._wrapped, _, _ = deepspeed.initialize(
            model=_Objective(module),
            optimizer=optimizer,
            config=deepspeed_config(settings, world_size, device.type == "cuda", trainable),
            dist_init_required=False,
        )
        self._adam = optimizer
        self._load(resume)

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

    def step(self, learning_rate: float) -> float:
        """Update the weights at the end of an accumulation; returns the gradient norm before clipping.

        Every call of `accumulate` but the last one of a step is followed by `skip` instead.
        """
        norm = self._stage0_norm()
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self.engine.step()
        if norm is None:
            norm = float(self.engine.get_global_grad_norm())
        return norm

    def skip(self) -> None:
        """Tell DeepSpeed that another micro-batch of the same step follows."""
        self.engine.step()

    def update_ema(self, step: int) -> None:
        """Move the average towards the weights after `step` steps; it is sharded as the moments are."""
        if self.settings.ema_decay is None:
            return
        decay = ema_decay(step, self.settings.ema_decay)
        for tensor in self._optimized():
            self._adam.state[tensor]["ema"].lerp_(tensor.detach(), 1 - decay)

    def gradients(self) -> Iterator[tuple[str, Tensor]]:
        """Name and full gradient of every trainable tensor, averaged over the workers, one at a time.

        To be called by every worker, between the step's last `accumulate` and `step`.
        """
        for name, parameter in self._trainable.items():
            yield name, safe_get_full_grad(parameter).float()

    def gradients_by_part(self) -> Iterator[tuple[str, Tensor]]:
        """The same with the part of the method instead of the name (`parameter_groups`, if it has any)."""
        groups = getattr(self.module, "parameter_groups", lambda: {"all": list(self._trainable.values())})()
        part = {id(parameter): name for name, members in groups.items() for parameter in members}
        names = {name: part[id(parameter)] for name, parameter in self._trainable.items()}
        for name, gradient in self.gradients():
            yield names[name], gradient

    def norms_by_part(self) -> dict[str, float]:
        """Norm of the gradient of each part, before clipping; every worker has to call it."""
        squares: dict[str, float] = {}
        for part, gradient in self.gradients_by_part():
            squares[part] = squares.get(part, 0.0) + float(gradient.norm()) ** 2
        return {part: math.sqrt(square) for part, square in squares.items()}

    def state(self, keep: bool = True) -> OptimizerState | None:
        """The consolidated state; every worker has to call it, those with keep=False get None."""
        keys = [*MOMENTS, *(["ema"] if self.settings.ema_decay is not None else [])]
        masters, slots = {}, {key: {} for key in keys}
        for name, parameter in self._trainable.items():
            full = [self._get(parameter), *(self._get(parameter, key) for key in keys)]
            if keep:
                masters[name], *rest = [tensor.detach().float().cpu().clone() for tensor in full]
                for key, tensor in zip(keys, rest, strict=True):
                    slots[key][name] = tensor
        if not keep:
            return None
        step = int(self._adam.state[self._optimized()[0]]["step"])
        return OptimizerState(step, masters, {key: slots[key] for key in MOMENTS}, slots.get("ema"))

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
                average = self._get(parameter, "ema")
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

    def _optimized(self) -> list[Tensor]:
        """The fp32 tensors that AdamW steps: parameters, their fp32 copies or this worker's flat shards."""
        if self.settings.zero_stage == 3:
            return list(self._wrapped.fp32_partitioned_groups_flat)
        return [tensor for group in self._adam.param_groups for tensor in group["params"]]

    def _master(self, parameter: nn.Parameter) -> Tensor:
        """ZeRO-0: the fp32 tensor behind a parameter."""
        if self.settings.precision == "fp32":
            return parameter
        order = {id(p): at for at, p in enumerate(self._wrapped.fp16_groups[0])}
        return self._wrapped.fp32_groups[0][order[id(parameter)]]

    def _get(self, parameter: nn.Parameter, key: str | None = None) -> Tensor:
        if self.settings.zero_stage == 0:
            master = self._master(parameter)
            return master if key is None else self._adam.state[master][key]
        if key is None:
            return safe_get_full_fp32_param(parameter)
        return safe_get_full_optimizer_state(parameter, key)

    def _set(self, parameter: nn.Parameter, value: Tensor, key: str | None = None) -> None:
        if self.settings.zero_stage == 0:
            self._get(parameter, key).data.copy_(value)
        elif key is None:
            safe_set_full_fp32_param(parameter, value)
        else:
            safe_set_full_optimizer_state(parameter, value, key)

    def _load(self, state: OptimizerState) -> None:
        slots = dict(state.moments)
        if self.settings.ema_decay is not None:
            slots["ema"] = state.ema or state.masters
        for tensor in self._optimized():
            empty = {key: torch.zeros_like(tensor, requires_grad=False) for key in (*MOMENTS, *slots)}
            self._adam.state[tensor] = {"step": torch.tensor(float(state.step)), **empty}
        if self.settings.zero_stage in (1, 2):
            # DeepSpeed links a parameter to its share of the state after its first step; we need it now.
            self._wrapped._lazy_init_hp_params_optimizer_state()
        for name, parameter in self._trainable.items():
            device = self._optimized()[0].device
            self._set(parameter, state.masters[name].to(device))
            for key, tensors in slots.items():
                self._set(parameter, tensors[name].to(device), key)

    def _stage0_norm(self) -> float | None:
        """DeepSpeed does not tell the norm where it wraps no optimizer of its own (ZeRO-0 in fp32)."""
        if self.settings.zero_stage > 0 or self.settings.precision != "fp32":
            return None
        norms = [p.grad.norm() for p in self._trainable.values() if p.grad is not None]
        return float(torch.stack(norms).norm()) if norms else 0.0
