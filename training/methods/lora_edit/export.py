"""The LoRA of a video as files of other tools have it, and back.

| tool | a tensor's name |
|---|---|
| diffusers | `transformer.blocks.{i}.attn1.to_q.lora_A.weight` |
| ComfyUI, diffusion-pipe, diffusers too | `diffusion_model.blocks.{i}.self_attn.q.lora_A.weight` |
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open
from torch import Tensor

from training.errors import StateMismatch

Form = Literal["diffusers", "comfyui"]
FORMS: tuple[Form, ...] = ("diffusers", "comfyui")
# Inside a block: diffusers' name of a linear, and that of Wan's own code.
ORIGINAL = {
    f"{theirs}.{linear}": f"{own}.{short}"
    for theirs, own in (("attn1", "self_attn"), ("attn2", "cross_attn"))
    for linear, short in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o"))
} | {"ffn.net.0.proj": "ffn.0", "ffn.net.2": "ffn.2"}
_DIFFUSERS = {short: long for long, short in ORIGINAL.items()}
_BLOCK = re.compile(r"(blocks\.\d+)\.(.+)")


def named(layer: str, form: Form) -> str:
    """What a tool calls a linear ("blocks.0.attn1.to_q")."""
    if form == "diffusers":
        return f"transformer.{layer}"
    match = _BLOCK.fullmatch(layer)
    if match is None or match[2] not in ORIGINAL:
        raise StateMismatch(f"Wan's own code has no name for the linear {layer!r}.")
    return f"diffusion_model.{match[1]}.{ORIGINAL[match[2]]}"


def exported(factors: Mapping[str, tuple[Tensor, Tensor]], form: Form) -> dict[str, Tensor]:
    """Tensors of a LoRA file of down [r, in] and up [out, r] of each linear; alpha is r, and not written."""
    lora = {}
    for layer, (down, up) in factors.items():
        for which, tensor in (("A", down), ("B", up)):
            lora[f"{named(layer, form)}.lora_{which}.weight"] = tensor.detach().cpu().contiguous()
    return lora


def read_lora_file(path: Path, layers: Iterable[str], rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    """down and up of each linear from a LoRA file in either form; an alpha is multiplied in.

    Args:
        layers: that the LoRA has to be of, all of them.

    Raises:
        StateMismatch: no safetensors file (a pickle is not read), or of other layers or another rank.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise StateMismatch(
            f"{path} is no safetensors file ({' '.join(str(error).split())[:80]}): a LoRA is read from"
            " safetensors only, never from a pickle, which may run whatever it likes."
        ) from error
    own = {name: tensor for name, tensor in ((_own_name(key), each) for key, each in found.items()) if name}
    wanted = {f"{layer}.{part}" for layer in layers for part in ("down", "up")}
    unknown = [key for key in found if _own_name(key) not in wanted and not key.endswith(".alpha")]
    if missing := sorted(wanted - own.keys()):
        raise StateMismatch(
            f"{path} is a LoRA of other layers: {len(missing)} of {len(wanted)} tensors are missing,"
            f" {missing[0]} first. Name one of the linears of this Wan's blocks, as `video2lora edit` writes."
        )
    if unknown:
        raise StateMismatch(f"{path} is a LoRA of other layers: {sorted(unknown)[0]} is none of this Wan's.")
    factors = {}
    for layer in layers:
        down, up = own[f"{layer}.down"].float(), own[f"{layer}.up"].float()
        if len(down) != rank:
            raise StateMismatch(f"{path} has rank {len(down)}, not {rank}: set edit.rank={len(down)}.")
        alpha = own.get(f"{layer}.alpha")
        factors[layer] = (down, up if alpha is None else up * (alpha.float() / rank))
    return factors


def _own_name(key: str) -> str | None:
    """ "blocks.0.attn1.to_q.down" of a tensor's name in either form; None where it is none of them."""
    stem, part = key, ""
    for ending, name in ((".lora_A.weight", "down"), (".lora_B.weight", "up"), (".alpha", "alpha")):
        if key.endswith(ending):
            stem, part = key.removesuffix(ending), name
    if not part:
        return None
    if stem.startswith("transformer."):
        return f"{stem.removeprefix('transformer.')}.{part}"
    match = _BLOCK.fullmatch(stem.removeprefix("diffusion_model."))
    if not stem.startswith("diffusion_model.") or match is None or match[2] not in _DIFFUSERS:
        return None
    return f"{match[1]}.{_DIFFUSERS[match[2]]}.{part}"


def require_shape(parameter: Tensor, value: Tensor, name: str) -> None:
    """Raises StateMismatch where a tensor of a file has another shape than what it is for."""
    if parameter.shape != value.shape:
        raise StateMismatch(
            f"{name} has shape {tuple(value.shape)}, and this Wan needs {tuple(parameter.shape)}: the LoRA is"
            " another model's."
        )
