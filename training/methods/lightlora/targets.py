"""What other tools call the linears of a LoRA, and how much of a file each of them would load.

A tool that meets a name it does not know says so in one line of its log, or not at all, and goes on without:
a LoRA under a wrong prefix loads nothing. So an export is counted by the names that its target reads.


"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from training.errors import BadAdapter

Target = Literal["diffusers", "comfyui", "kijai"]
TITLES: dict[Target, str] = {
    "diffusers": "diffusers (load_lora_weights)",
    "comfyui": "ComfyUI (Load LoRA)",
    "kijai": "kijai's wrapper for ComfyUI",
}
TARGETS: tuple[Target, ...] = get_args(Target)

# A linear as diffusers' models name it. CogVideoX's blocks and Wan's are told apart by the name of their
# list.
_LINEAR = re.compile(r"(transformer_blocks|blocks)\.(\d+)\.(.+)")
# What ComfyUI's own models call the linears of a block.
_COMFYUI = {
    "transformer_blocks": {
        "norm1.linear": "norm1.linear",
        "attn1.to_q": "q",
        "attn1.to_k": "k",
        "attn1.to_v": "v",
        "attn1.to_out.0": "attn_out",
        "norm2.linear": "norm2.linear",
        "ff.net.0.proj": "ff_proj",
        "ff.net.2": "ff_out",
    },
    "blocks": {
        f"{theirs}.{linear}": f"{ours}.{name}"
        for theirs, ours in (("attn1", "self_attn"), ("attn2", "cross_attn"))
        for linear, name in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o"))
    }
    | {
        "attn2.add_k_proj": "cross_attn.k_img",
        "attn2.add_v_proj": "cross_attn.v_img",
        "ffn.net.0.proj": "ffn.0",
        "ffn.net.2": "ffn.2",
    },
}
_FROM_COMFYUI = {
    (blocks, name): linear for blocks, names in _COMFYUI.items() for linear, name in names.items()
}
DOWN, UP, ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"
# kijai's wrapper divides a fused LoRA by its rank where its path holds one of these.
_DIVIDED = ("orbit", "dimensionx")


@dataclass(frozen=True)
class Loaded:
    """How much of a LoRA file a target loads.

    Attributes:
        linears: that would be adapted.
        unread: tensors that it knows no place for, or that lack the other half of their pair.
        why: what else would go wrong, one sentence, or "".
    """

    target: Target
    linears: int
    unread: tuple[str, ...]
    why: str = ""

    @property
    def whole(self) -> bool:
        """Whether all that the file holds is loaded, as it is meant."""
        return bool(self.linears) and not self.unread and not self.why


def stem_of(target: Target, linear: str) -> str | None:
    """What a target's files call a linear of diffusers' model, without `.lora_A.weight`; None: nothing."""
    found = _LINEAR.fullmatch(linear)
    if found is None:
        return None
    blocks, number, inside = found.groups()
    if _as_diffusers(target, blocks):
        return f"transformer.{linear}"
    name = _COMFYUI[blocks].get(inside)
    return None if name is None else f"diffusion_model.blocks.{number}.{name}"


def linear_of(target: Target, stem: str) -> str | None:
    """The linear of diffusers' model that a name in a target's files means: `stem_of` taken back."""
    if stem.startswith("transformer."):
        linear = stem.removeprefix("transformer.")
        found = _LINEAR.fullmatch(linear)
        return linear if found is not None and _as_diffusers(target, found[1]) else None
    found = re.fullmatch(r"diffusion_model\.blocks\.(\d+)\.(.+)", stem)
    if found is None:
        return None
    for blocks in _COMFYUI:
        inside = _FROM_COMFYUI.get((blocks, found[2]))
        if inside is not None and not _as_diffusers(target, blocks):
            return f"{blocks}.{found[1]}.{inside}"
    return None


def lora_for(target: Target, lora: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """A LoRA in diffusers' format under the names that a target reads.

    Args:
        path: of the file that it will be.

    Raises:
        BadAdapter: the target has no name for a linear, or would not take the file as it is meant.
    """
    renamed = {}
    for key, value in lora.items():
        stem, end = _parted(key)
        name = stem_of(target, stem.removeprefix("transformer."))
        if name is None:
            raise BadAdapter(
                f"{TITLES[target]} has no name for {stem!r}: export it for diffusers, or for another tool."
            )
        renamed[name + end] = value
    found = loaded_by(target, renamed, path)
    if not found.whole:
        raise BadAdapter(found.why or f"{TITLES[target]} would load {found.linears} of its linears.")
    return renamed


def loaded_by(target: Target, keys: Iterable[str], path: Path | None = None) -> Loaded:
    """What a target would load of a file with these tensors; `path` is the file's."""
    keys = list(keys)
    halves: dict[str, set[str]] = {}
    for key in keys:
        stem, end = _parted(key)
        halves.setdefault(stem, set()).add(end)
    known = {stem for stem, ends in halves.items() if {DOWN, UP} <= ends and linear_of(target, stem)}
    unread = tuple(key for key in keys if _parted(key)[0] not in known or not _parted(key)[1])
    why = ""
    if any(key.startswith("transformer.") and key.endswith(ALPHA) for key in keys):
        why = f"{TITLES['diffusers']} refuses a file with tensors named …{ALPHA}: multiply them into lora_B."
    if target == "kijai" and path is not None:
        place = str(path.absolute()).lower()
        if word := next((word for word in _DIVIDED if word in place), None):
            why = (
                f"{TITLES[target]} divides a LoRA by its rank where its path holds {word!r}:"
                f" {path} needs another name or folder."
            )
    return Loaded(target, len(known), unread, why)


def _as_diffusers(target: Target, blocks: str) -> bool:
    """Whether a target reads diffusers' names of these blocks."""
    return target == "diffusers" or (target == "kijai" and blocks == "transformer_blocks")


def _parted(key: str) -> tuple[str, str]:
    """A tensor's name as the linear's and what of it; the second is "" where it is nothing known."""
    end = next((end for end in (DOWN, UP, ALPHA) if key.endswith(end)), "")
    return key.removesuffix(end), end
