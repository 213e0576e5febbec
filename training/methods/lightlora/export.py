"""An adapter as an ordinary LoRA file that other tools load."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from training.errors import BadMethodSettings, StateMismatch
from training.files import write_atomically
from training.methods.lightlora.layers import Factors, LightLoRA

PREFIX = "transformer."


@torch.no_grad()
def factors_of(adapters: LightLoRA, theta: Tensor) -> Factors:
    """One adapter θ [L, r·(a+b)] (or [1, L, …]) without its auxiliary matrices; the scale s is in `up`.

    Raises:
        BadMethodSettings: θ is several adapters, or another model's.
    """
    theta = theta[None] if theta.ndim == 2 else theta
    if len(theta) != 1:
        raise BadMethodSettings(f"A LoRA file holds one adapter, not {len(theta)}: export them one by one.")
    down_pred, up_pred = adapters.split(theta.to(adapters.device))
    by_linear = {}
    for index, (name, layer) in enumerate(adapters.layers.items()):
        down, up = layer.factors(down_pred[:, index], up_pred[:, index])
        by_linear[name] = (down[0], layer.scale * up[0])
    return Factors(by_linear)


@torch.no_grad()
def adapter_to_lora(
    adapters: LightLoRA, adapter: Tensor | Factors, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """The LoRA of one adapter, θ [L, r·(a+b)] (or [1, L, …]) or factors, as diffusers writes it.


    `transformer.<linear>.lora_A.weight` [r, in] and `transformer.<linear>.lora_B.weight` [out, r]. The scale
    s is multiplied into lora_B and no alpha is written: a loader then takes alpha = r, whose scale is 1. So
    `pipeline.load_lora_weights(file)` and W + lora_B @ lora_A are the adapted network.

    Raises:
        BadMethodSettings: see `factors_of`.
    """
    factors = adapter if isinstance(adapter, Factors) else factors_of(adapters, adapter)
    lora = {}
    for name, (down, up) in factors.by_linear.items():
        lora[f"{PREFIX}{name}.lora_A.weight"] = down.to("cpu", dtype).contiguous()
        lora[f"{PREFIX}{name}.lora_B.weight"] = up.to("cpu", dtype).contiguous()
    return lora


def save_lora(
    path: Path | str, lora: Mapping[str, Tensor], facts: Mapping[str, object] | None = None
) -> None:
    """Write a LoRA file; `facts` (model id, reference …) go into its header as JSON under "video2lora"."""
    metadata = {"format": "pt"}
    if facts:
        metadata["video2lora"] = json.dumps(dict(facts), sort_keys=True)
    # Not by safetensors itself, whose errors of a full disk are no OSError.
    write_atomically(Path(path), save(dict(lora), metadata))


def load_lora(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a LoRA file."""
    return load_file(str(path))


@torch.no_grad()
def merge_lora(
    state: Mapping[str, Tensor], lora: Mapping[str, Tensor], scale: float = 1.0
) -> dict[str, Tensor]:
    """A plain transformer's state with a LoRA merged: W + scale · lora_B lora_A for each linear it names.

    Raises:
        StateMismatch: the LoRA names a linear that the state does not have.
    """
    merged = dict(state)
    for key, down in lora.items():
        if not key.endswith(".lora_A.weight"):
            continue
        linear = key.removesuffix(".lora_A.weight")
        name = f"{linear.removeprefix(PREFIX)}.weight"
        if name not in merged:
            raise StateMismatch(f"The LoRA adapts {name!r}, which this transformer does not have.")
        up = lora[f"{linear}.lora_B.weight"]
        weight = merged[name]
        update = scale * (up.float() @ down.float()).to(weight.device)
        merged[name] = (weight.float() + update).to(weight.dtype)
    return merged
