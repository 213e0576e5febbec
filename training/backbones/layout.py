"""diffusers' layout: which files of a backbone's folder loading reads, and so which of them name it."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from training.errors import WeightsUnreachable

# What each part of a backbone needs of the pipeline's folder, by family.
PART_FOLDERS = {
    "cogvideox": {"transformer": ("transformer",), "vae": ("vae",), "text": ("tokenizer", "text_encoder")},
    "wan": {
        "transformer": ("transformer",),
        "vae": ("vae", "image_encoder", "image_processor"),
        "text": ("tokenizer", "text_encoder"),
    },
}
# How diffusers calls the transformer of each.
TRANSFORMERS = {"cogvideox": "CogVideoXTransformer3DModel", "wan": "WanTransformer3DModel"}
# The weights in each folder, without their ending.
_WEIGHTS = {
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "image_encoder": "model",
}
_VOCABULARIES = ("spiece.model", "tokenizer.json")
_TOKENIZER_MAY_HAVE = ("added_tokens.json", "special_tokens_map.json", *_VOCABULARIES)


def files_read(folder: Path) -> list[Path]:
    """The files that loading reads of one of a backbone's folders, by name; a needed one may be missing.

    Others (a README, weights as pickles, another precision) are neither read nor looked at.

    Raises:
        WeightsUnreachable: an index that cannot be read, or weights that are there twice.
    """
    if folder.name == "scheduler":
        return [folder / "scheduler_config.json"]
    if folder.name == "image_processor":
        return [folder / "preprocessor_config.json"]
    if folder.name == "tokenizer":
        there = [folder / name for name in _TOKENIZER_MAY_HAVE if (folder / name).is_file()]
        if not any(path.name in _VOCABULARIES for path in there):
            there.append(folder / "tokenizer.json")
        return sorted([folder / "tokenizer_config.json", *there])
    return sorted([folder / "config.json", *_weight_files(folder)])


def weight_shards(folder: Path) -> list[Path]:
    """The safetensors files of the transformer's, the VAE's or the text encoder's folder."""
    return [path for path in files_read(folder) if path.suffix == ".safetensors"]


def folders_of(parts: Collection[str], family: str) -> list[str]:
    """The folders of a pipeline that the scheduler and `parts` are read from."""
    return ["scheduler", *(name for part in sorted(parts) for name in PART_FOLDERS[family][part])]


def require_family(folder: Path, family: str) -> None:
    """Check that a pipeline's folder, where it says what it holds, holds a model of this family.

    Raises:
        WeightsUnreachable: it holds one of another.
    """
    config = folder / "transformer" / "config.json"
    held = read_json(config).get("_class_name") if config.is_file() else None
    other = next((name for name, kind in TRANSFORMERS.items() if kind == held), family)
    if other != family:
        raise WeightsUnreachable(
            f"{str(folder)!r} holds a {held}, and backbone.family is {family}: set backbone.family={other}"
            f" (and its geometry), or backbone.model to a {family} model."
        )


def missing_file(folder: Path, parts: Collection[str], family: str = "cogvideox") -> str | None:
    """The first file that the scheduler and `parts` need and a folder lacks, None when it is whole.

    Raises:
        WeightsUnreachable: see `files_read`.
    """
    needed = (path for name in folders_of(parts, family) for path in files_read(folder / name))
    return next((str(path.relative_to(folder)) for path in needed if not path.is_file()), None)


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """A configuration, which has at least these keys.

    Raises:
        WeightsUnreachable: it cannot be read, or is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no table")
        if lacking := [key for key in keys if key not in content]:
            raise ValueError(f"it lacks {lacking[0]!r}")
    except (OSError, ValueError) as error:
        raise WeightsUnreachable(
            f"{path} cannot be read ({' '.join(str(error).split())[:200]}). Download the backbone again, or"
            " set `backbone.model` to another folder."
        ) from error
    return content


def _weight_files(folder: Path) -> list[Path]:
    whole = folder / f"{_WEIGHTS[folder.name]}.safetensors"
    index = folder / f"{whole.name}.index.json"
    if not index.is_file():
        return [whole]
    if whole.is_file():
        # Of the two libraries that load these folders one would take the first, the other the second.
        raise WeightsUnreachable(
            f"{folder} holds its weights twice: {whole.name}, and the parts that {index.name} names. Take one"
            " of the two away."
        )
    shards = read_json(index, "weight_map")["weight_map"]
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise WeightsUnreachable(f"{index} does not say which file holds which tensor. Download it again.")
    return [index, *(folder / shard for shard in set(shards.values()))]
