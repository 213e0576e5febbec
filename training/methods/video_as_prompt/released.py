"""The checkpoint of ByteDance's Video-As-Prompt-CogVideoX-5B, in both directions.

Their transformer has the frozen weights under diffusers' names, and each module of the reference stream under
the name of the one that it copies, with a suffix: `transformer_blocks.3.attn1_mot_ref.to_q.weight`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from training.backbones.headers import require_names
from training.backbones.layout import read_json, weight_shards
from training.errors import StateMismatch, WeightsUnreachable
from training.methods.video_as_prompt.method import VideoAsPrompt
from training.methods.video_as_prompt.settings import VideoAsPromptSettings

SUFFIX = "_mot_ref"
LAYERS = "block_idx_with_mot_ref"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_EXPERT = re.compile(r"transformer\.transformer_blocks\.(\d+)\.expert\.(\w+)\.(.+)")


def released_name(ours: str) -> str:
    """What the released class calls a tensor of `VideoAsPrompt`."""
    if match := _EXPERT.fullmatch(ours):
        block, part, rest = match.groups()
        return f"transformer_blocks.{block}.{part}{SUFFIX}.{rest}"
    if ours.startswith("embedding."):
        _, part, rest = ours.split(".", 2)
        return f"{part}{SUFFIX}.{rest}"
    return re.sub(r"^(transformer_blocks\.\d+)\.block\.", r"\1.", ours.removeprefix("transformer."))


def released_state(method: VideoAsPrompt) -> dict[str, Tensor]:
    """Every tensor of the frozen transformer and of the reference stream under its released name.

    They are the method's own, not copies. With the layers as `block_idx_with_mot_ref` in `config.json` they
    are a checkpoint that the released class loads.
    """
    return {released_name(name): value for name, value in method.state_dict().items()}


def released_settings(folder: Path) -> VideoAsPromptSettings:
    """What the model in a released folder was trained with; see `load_released`.

    Raises:
        WeightsUnreachable: no such checkpoint, or one beside another family of transformers.
    """
    return VideoAsPromptSettings.model_validate({"expert_layers": _config(_transformer(folder))[LAYERS]})


@torch.no_grad()
def load_released(method: VideoAsPrompt, folder: Path) -> None:
    """Copy the reference stream of a released transformer's folder in, one tensor at a time.

    Its frozen weights are compared, not taken: all those of one dimension.

    Args:
        method: whose experts become those of the checkpoint.
        folder: `transformer/`, or the pipeline's folder that holds it.

    Raises:
        WeightsUnreachable: no safetensors in diffusers' layout (pickles are not read), or tensors that are
            missing, unknown or of another shape; nothing was copied.
        StateMismatch: experts in other layers, or beside another transformer.
    """
    folder = _transformer(folder)
    config = _config(folder)
    if tuple(config[LAYERS]) != method.layers:
        raise StateMismatch(
            f"{folder} has experts in blocks {config[LAYERS]}, and this model in {list(method.layers)}. Set"
            f" method.expert_layers={config[LAYERS]}."
        )
    own, shards = released_state(method), weight_shards(folder)
    pickles = sorted(path.name for ending in PICKLES for path in folder.glob(f"*{ending}"))
    if pickles and not any(shard.exists() for shard in shards):
        raise WeightsUnreachable(
            f"{folder} holds its weights as a pickle ({pickles[0]}), which runs what it says when it is read:"
            " take the checkpoint's safetensors."
        )
    require_names(shards, own)
    for name, theirs in _tensors(shards):
        frozen = SUFFIX not in name and own[name].ndim == 1
        if frozen and not torch.equal(theirs().to(own[name]), own[name]):
            raise StateMismatch(
                f"The experts in {folder} stand beside another transformer: {name} differs. Set"
                " backbone.model to the one that they were trained with."
            )
    for name, theirs in _tensors(shards):
        if SUFFIX in name:
            own[name].copy_(theirs())


def _transformer(folder: Path) -> Path:
    return folder if folder.name == "transformer" else folder / "transformer"


def _config(folder: Path) -> dict[str, Any]:
    """Of a released transformer's folder."""
    file = folder / "config.json"
    if not file.is_file():
        raise WeightsUnreachable(
            f"There is no {file}: name the folder of a released checkpoint of Video-As-Prompt, which holds"
            " transformer/config.json."
        )
    config = read_json(file)
    layers = config.get(LAYERS)
    if not isinstance(layers, list) or not all(isinstance(each, int) and each >= 0 for each in layers):
        raise WeightsUnreachable(f"{file} names no {LAYERS}: this is no checkpoint of Video-As-Prompt.")
    if "Wan" in (kind := str(config.get("_class_name", ""))):
        raise WeightsUnreachable(
            f"{folder} holds a {kind}, and Video-As-Prompt is here beside a CogVideoX: take the checkpoint of"
            " Video-As-Prompt-CogVideoX-5B."
        )
    return config


def _tensors(shards: Iterable[Path]) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """The name of each tensor, and what reads it."""
    for shard in shards:
        with safe_open(shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, partial(file.get_tensor, name)
