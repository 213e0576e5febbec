"""The CLIP model that ships with the project, put together in open_clip's layout."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import training
from pipeline.embedding.text_tower import text_tower_folder, tower_state
from pipeline.errors import PipelineError
from training.backbones.hub import cache_folder

SHIPPED = Path(training.__file__).parent / "pocket" / "clip"
# Beside a model that lacks its text tower: what it was taught.
MARK = "pocket_clip.json"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class PocketClipMissing(PipelineError):
    """This checkout carries no pocket CLIP, or a broken one."""


def pocket_clip(shipped: Path) -> Path:
    """The folder of the whole model: what `make pocket` trained, beside the text tower of its package.

    Put together once in the cache, for open_clip loads no model from two places.

    Raises:
        PocketClipMissing, TextTowerMissing: a part is not there.
    """
    weights = shipped / "open_clip_model.safetensors"
    try:
        stored = json.loads((shipped / "open_clip_config.json").read_text())
        own = load_file(weights)
    except (OSError, ValueError, SafetensorError) as error:
        raise PocketClipMissing(
            f"There is no whole pocket CLIP in {shipped} ({error}): `make pocket` trains it, or set "
            "`embed.model` to tiny and `embed.pretrained` to random:0 to try the way with random weights."
        ) from error
    tower = text_tower_folder()
    stored["model_cfg"]["text_cfg"] |= {"hf_model_name": str(tower), "hf_model_pretrained": False}
    digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode() + weights.read_bytes())
    folder = cache_folder() / "clip" / f"pocket-{digest.hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    staged = folder.with_name(f".{folder.name}.{os.getpid()}")
    staged.mkdir(parents=True, exist_ok=True)
    state = {name: value.float() for name, value in own.items()}
    state |= {f"text.transformer.{name}": value for name, value in tower_state().items()}
    save_file(state, staged / weights.name)
    (staged / "open_clip_config.json").write_text(json.dumps(stored))
    for name in _TOKENIZER:
        shutil.copyfile(tower / name, staged / name)
    try:
        staged.rename(folder)
    except OSError:
        # Another process was first; its weights are the same.
        if not folder.is_dir():
            raise
        shutil.rmtree(staged)
    return folder
