"""Where an open_clip model comes from: shipped or made on the spot, a file or folder, or the hub."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import huggingface_hub
import open_clip
from open_clip.factory import get_model_config, get_pretrained_cfg
from safetensors.torch import save_file

from pipeline.embedding.descriptor import RECIPE
from pipeline.embedding.directions import fingerprint
from pipeline.embedding.pocket import MARK, SHIPPED, pocket_clip
from pipeline.embedding.words import FILE as WORDS
from pipeline.errors import PipelineError
from training.backbones.hub import cache_folder, hub_refuses
from training.randomness import initial_values

TINY = {
    # The vocabulary is that of the tokenizer inside open_clip, so that words need no download either.
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 64,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 16,
        "pool_type": "avg",
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
WEIGHT_FILES = ("open_clip_model.safetensors", "model.safetensors")
_SAFE = ".safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


class UnknownEmbedder(PipelineError):
    """No such model, or no such weights of it."""


class EmbedderUnreachable(PipelineError):
    """The weights are neither on this machine nor can they be downloaded."""


@dataclass(frozen=True)
class ClipFiles:
    """Where a model lies on this machine.

    Attributes:
        name: what open_clip is asked for: a name it knows, or "local-dir:<folder>".
        config: the architecture, as open_clip describes it.
        weights: the weights file.
        options: further arguments of open_clip.create_model_and_transforms.
        label: what its vectors are called after, where that is not `name`.
        words: what its words mean for whole descriptors, where that was learned; clips' vectors do not depend
            on it.
    """

    name: str
    config: dict
    weights: Path
    options: dict = field(default_factory=dict)
    label: str = ""
    words: Path | None = None

    def embedder_id(self, frames: int) -> str:
        """A fingerprint of everything a vector depends on; 16 hex digits after the model's name."""
        # Where the text tower's configuration lies differs by machine; the weights below include the tower.
        text = {key: value for key, value in self.config["text_cfg"].items() if key != "hf_model_name"}
        facts = [self.config | {"text_cfg": text}, self.options, frames, RECIPE, fingerprint()]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        with self.weights.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
        return f"{self.label or self.name}-{digest.hexdigest()[:16]}"


def find_clip(model: str, pretrained: str) -> ClipFiles:
    """Locate a model, writing or downloading its weights where that is due.

    Raises:
        UnknownEmbedder: open_clip has no such model or tag, the folder holds none, or the weights are a
            pickle, which could run what its author likes when it is read.
        EmbedderUnreachable: the weights are not here and the hub does not answer (found out in seconds).
    """
    shipped = SHIPPED if pretrained == "pocket" else Path(pretrained)
    if pretrained == "pocket" or (shipped / MARK).is_file():
        found, words = _from_folder(pocket_clip(shipped), "pocket"), shipped / WORDS
        return replace(found, words=words if words.is_file() else None)
    if pretrained.startswith("random:"):
        return _from_folder(_random_weights(model, pretrained.removeprefix("random:")))
    if Path(pretrained).is_dir():
        return _from_folder(Path(pretrained))
    config = _builtin(model)
    if Path(pretrained).is_file():
        if Path(pretrained).suffix.lower() != _SAFE:
            raise _no_pickle(pretrained)
        return ClipFiles(model, config, Path(pretrained))
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in tags:
        raise UnknownEmbedder(
            f"{pretrained!r} is no file, no folder and no tag of {model}. Set `embed.pretrained`; "
            f"the tags are {', '.join(tags) or 'none'}."
        )
    tag = get_pretrained_cfg(model, pretrained)
    options = {f"image_{key}": tag[key] for key in PREPROCESS if key in tag}
    return ClipFiles(
        model,
        config,
        _download(model, pretrained),
        options | {"force_quick_gelu": tag.get("quick_gelu", False)},
    )


def _builtin(model: str) -> dict:
    config = get_model_config(model)
    if config is None:
        raise UnknownEmbedder(
            f"open_clip has no model {model!r}. Set `embed.model` to a name from open_clip.list_models(), "
            "such as ViT-L-14, or to pocket for the one that this project ships."
        )
    return config


def _from_folder(folder: Path, label: str = "local") -> ClipFiles:
    described = folder / "open_clip_config.json"
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    pickles = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in _PICKLES]
    if weights is None and pickles:
        raise _no_pickle(str(pickles[0]))
    if not described.is_file() or weights is None:
        raise UnknownEmbedder(
            f"{folder} is not an open_clip model: it needs open_clip_config.json and {WEIGHT_FILES[0]}. "
            "Set `embed.pretrained` to such a folder, a weights file or a tag."
        )
    stored = json.loads(described.read_text())
    config = stored["model_cfg"] | {"preprocess": stored.get("preprocess_cfg", {})}
    return ClipFiles(f"local-dir:{folder}", config, weights, label=label)


def _no_pickle(file: str) -> UnknownEmbedder:
    return UnknownEmbedder(
        f"{file} is not read: only {_SAFE} files are, for others can run code when they are loaded. Fetch "
        f"{WEIGHT_FILES[0]} of that model, or save its tensors with safetensors, and set `embed.pretrained`."
    )


def _random_weights(name: str, seed: str) -> Path:
    """A folder in open_clip's own layout with random weights, made once and then reused."""
    if not seed.isdigit():
        raise UnknownEmbedder(
            f"`embed.pretrained` is random:{seed}; the seed must be a whole number, as in random:0."
        )
    config = TINY if name == "tiny" else _builtin(name)
    fingerprint = hashlib.sha256(
        json.dumps([config, open_clip.__version__], sort_keys=True).encode()
    ).hexdigest()
    folder = cache_folder() / "clip" / f"{name}-{seed}-{fingerprint[:8]}"
    if folder.is_dir():
        return folder
    with initial_values(int(seed)):
        parts = {key: value for key, value in config.items() if key != "custom_text"}
        kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
        state = kind(**json.loads(json.dumps(parts))).state_dict()
    staged = folder.with_name(f".{folder.name}.{os.getpid()}")
    staged.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in state.items()}, staged / WEIGHT_FILES[0])
    (staged / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    try:
        staged.rename(folder)
    except OSError:
        # Another process was first; its weights are the same.
        if not folder.is_dir():
            raise
        shutil.rmtree(staged)
    return folder


def _download(name: str, tag: str) -> Path:
    """The weights file of one of open_clip's tags, from the hub's cache or from the hub."""
    repository = (get_pretrained_cfg(name, tag).get("hf_hub") or "").rstrip("/")
    for file in WEIGHT_FILES:
        cached = huggingface_hub.try_to_load_from_cache(repository, file) if repository else None
        if isinstance(cached, str):
            return Path(cached)
    try:
        # Asked once and briefly before open_clip's and the hub's own retries can take minutes.
        if why := hub_refuses(repository) if repository else "the tag names no hub repository":
            raise OSError(why)
        there = set(huggingface_hub.list_repo_files(repository))
        file = next((file for file in WEIGHT_FILES if file in there), None)
        if file is None:
            raise OSError(f"the repository has no {WEIGHT_FILES[0]}, and other files are not read")
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except (OSError, ValueError) as error:
        raise EmbedderUnreachable(
            f"The {tag} weights of {name} are not on this machine and cannot be downloaded "
            f"({str(error) or type(error).__name__}). Where there is a network run `hf download "
            f"{repository or name} {WEIGHT_FILES[0]} --local-dir <folder>`, then `--set "
            f"embed.pretrained=<folder>/{WEIGHT_FILES[0]}`."
        ) from error
