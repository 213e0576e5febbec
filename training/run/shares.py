"""What a worker holds of the optimizer's state, whatever the ZeRO stage; only this file reads DeepSpeed's.

Under ZeRO-1 and 2 a worker steps a piece of all trainable tensors laid end to end, under ZeRO-3 a piece of
each, under ZeRO-0 everything. A *share* names values of one tensor; the shares that workers *own* are
disjoint and complete, so that what is counted or written from them is counted or written once.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from deepspeed.utils import safe_get_full_optimizer_state, safe_get_local_grad
from torch import Tensor, nn

MASTER = "master"
MOMENTS = ("exp_avg", "exp_avg_sq")
EMA = "ema"


class Share(NamedTuple):
    """Values start to stop of a trainable tensor, flattened."""

    name: str
    start: int
    stop: int


class Shares:
    """The fp32 state and the gradients of this worker's shares.

    Args:
        trainable: the tensors that train, by name.
        adam: the optimizer that DeepSpeed was given.
        wrapped: what DeepSpeed made of it.
        stage: of ZeRO.
        rank, world_size: this worker and how many there are.
    """

    def __init__(
        self,
        trainable: Mapping[str, nn.Parameter],
        adam: torch.optim.AdamW,
        wrapped: object,
        stage: int,
        rank: int,
        world_size: int,
    ) -> None:
        self._trainable, self._adam, self._wrapped, self._stage = trainable, adam, wrapped, stage
        # ZeRO-0 in bf16: a parameter's fp32 tensor is another one; in fp32 the parameter itself.
        apart = stage == 0 and hasattr(wrapped, "fp32_groups")
        groups = zip(wrapped.fp16_groups, wrapped.fp32_groups, strict=True) if apart else ()
        self._fp32 = {id(p): m for low, high in groups for p, m in zip(low, high, strict=True)}
        self.held = [*self._held(rank)]
        self.own = [*_divided(self.held, rank, world_size)] if stage == 0 else self.held

    def stepped(self) -> list[Tensor]:
        """The fp32 tensors that AdamW steps: parameters, their fp32 copies or this worker's flat pieces."""
        if self._stage == 3:
            return list(self._wrapped.fp32_partitioned_groups_flat)
        return [tensor for group in self._adam.param_groups for tensor in group["params"]]

    def begin(self, step: int, keys: tuple[str, ...]) -> None:
        """Give AdamW empty state tensors for `keys`, as after `step` steps."""
        for tensor in self.stepped():
            empty = {key: torch.zeros_like(tensor, requires_grad=False) for key in keys}
            self._adam.state[tensor] = {"step": torch.tensor(float(step)), **empty}
        if self._stage in (1, 2):
            # DeepSpeed links a parameter to its share of the state after its first step; we need it now.
            self._wrapped._lazy_init_hp_params_optimizer_state()

    def steps(self) -> int:
        """Optimizer steps done, as AdamW counts them."""
        return int(self._adam.state[self.stepped()[0]]["step"])

    def values(self, share: Share, key: str) -> Tensor:
        """A view of the share's fp32 masters (MASTER) or of its state under another key, [stop - start]."""
        parameter = self._trainable[share.name]
        slot = None if key == MASTER else key
        if self._stage == 0:
            return self._replicated(parameter, slot).detach().view(-1)[share.start : share.stop]
        if self._stage == 3:
            flat = parameter._z3_optimizer.get_local_fp32_param(parameter, slot)
            return flat.detach()[: share.stop - share.start]
        return parameter._hp_mapping.get_hp_fragment(slot).detach()

    def gradient(self, share: Share) -> Tensor:
        """The share's gradient, averaged over the workers, fp32; between a step's last backward and it."""
        parameter = self._trainable[share.name]
        length = share.stop - share.start
        if self._stage == 0:
            gradient = parameter.grad.view(-1)[share.start : share.stop]
        elif self._stage == 3:
            gradient = safe_get_local_grad(parameter)[:length]
        else:
            gradient = parameter._hp_mapping.get_lp_grad_fragment(parameter._index_in_param_group).view(-1)
            if gradient.numel() == parameter.numel():  # ZeRO-1 in bf16 keeps the gradient of the whole tensor
                gradient = gradient[share.start : share.stop]
        return gradient.detach().float()

    def whole(self, name: str, key: str) -> Tensor:
        """The state of a whole tensor under a key, in its shape; every worker has to call it."""
        parameter = self._trainable[name]
        if self._stage == 0:
            return self._replicated(parameter, key)
        return safe_get_full_optimizer_state(parameter, key)

    def _held(self, rank: int) -> Iterator[Share]:
        for name, parameter in self._trainable.items():
            start, count = 0, parameter.numel()
            if self._stage == 3:
                start = min(rank * parameter.ds_tensor.ds_numel, parameter.ds_numel)
                count = min(parameter.ds_tensor.ds_numel, parameter.ds_numel - start)
            elif self._stage > 0:
                mapping = parameter._hp_mapping
                address = mapping and mapping.lp_fragment_address
                start, count = (address.start, address.numel) if address else (0, 0)
            if count > 0:
                yield Share(name, start, start + count)

    def _replicated(self, parameter: nn.Parameter, slot: str | None) -> Tensor:
        master = self._fp32.get(id(parameter), parameter)
        return master if slot is None else self._adam.state[master][slot]


def _divided(shares: list[Share], part: int, parts: int) -> Iterator[Share]:
    """One of `parts` pieces of about equal size of all shares laid end to end."""
    total = sum(share.stop - share.start for share in shares)
    begin, end = total * part // parts, total * (part + 1) // parts
    at = 0
    for share in shares:
        start, stop = max(begin - at, share.start), min(end - at, share.stop)
        if start < stop:
            yield Share(share.name, start, stop)
        at += share.stop
