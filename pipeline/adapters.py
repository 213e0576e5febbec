"""What a model makes of one reference: predicted, kept in the catalogue, ready to run under or to export."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from catalog.store import Catalog
from pipeline.errors import BadSource
from pipeline.example import read_clip_of
from training.backbones.base import Backbone
from training.batch import References, pad_reference
from training.files import written
from training.methods.base import Condition, Method, device_of
from training.release import Release

# Below these a clip shows next to nothing: mean grey level, mean change between frames, of 255.
DARK, STILL = 6.0, 0.5
FEW_FRAMES = 12


@dataclass(frozen=True)
class Reference:
    """The effect to copy.

    Attributes:
        name: as it was asked for: a clip_id, or a file.
        frames: uint8 [n, H, W, 3].
        category, caption: of a clip of the catalogue, else "".
        stored: whether it is a clip of the catalogue.
    """

    name: str
    frames: np.ndarray
    category: str = ""
    stored: bool = False
    caption: str = ""

    @classmethod
    def read(cls, catalog: Catalog, name: str) -> Self:
        """A clip of the catalogue, or a stranger's video file; raises BadSource where it is neither."""
        known = catalog.get("clips", [name], ["clip_id", "category_id", "caption"]).to_pylist()
        row = known[0] if known else {}
        frames = read_clip_of(catalog, name)
        return cls(name, frames, row.get("category_id") or "", bool(known), row.get("caption") or "")

    def notes(self) -> list[str]:
        """What speaks against it as a reference, in sentences."""
        change = np.abs(np.diff(self.frames.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
        if self.frames.mean() < DARK:
            return [f"The reference {self.name!r} is all but black: there is no effect to copy."]
        if change.mean() < STILL:
            return [f"The reference {self.name!r} stands still: there is no effect to copy."]
        different = 1 + int((change > 0).sum())
        if different < FEW_FRAMES:
            return [f"The reference {self.name!r} has {different} different frames: little can be copied."]
        return []


@dataclass(frozen=True)
class Adapter:
    """What a model made of one reference.

    Attributes:
        condition: what `Method.under` takes, a batch of one.
        lora: tensors that diffusers loads, where the method can export any.
        facts: JSON, where it comes from and what it was run with: the header of the LoRA file.
    """

    condition: Condition
    lora: dict[str, Tensor] | None
    facts: dict[str, object]

    def told(self, **facts: object) -> Self:
        """The same with further facts."""
        return replace(self, facts=self.facts | facts)


def save_adapter(path: Path, adapter: Adapter) -> int:
    """Write what `Method.under` takes, in bf16, as a safetensors file with its facts; returns its bytes.

    One tensor, "adapter", and in the header JSON under "video2lora", as in a LoRA file.

    Raises:
        BadSource: what the model makes of references is no adapter.
    """
    if not isinstance(adapter.condition, Tensor):
        raise BadSource(f"Model {adapter.facts['model_id']} makes no adapter that could be written.")
    tensors = {"adapter": adapter.condition[0].detach().to("cpu", torch.bfloat16).contiguous()}
    facts = {"format": "pt", "video2lora": json.dumps(adapter.facts, sort_keys=True)}
    with written(path) as partial:
        save_file(tensors, partial, metadata=facts)
    return path.stat().st_size


@torch.no_grad()
def predict_adapter(
    backbone: Backbone,
    method: Method,
    release: Release,
    catalog: Catalog,
    reference: Reference,
    *more: Reference,
) -> Adapter:
    """The adapter of a reference; that of a clip of the catalogue is stored there.

    Args:
        backbone, method, release: the model.
        catalog: where it is stored.
        reference: the effect.
        more: further references of it, where the method takes several.

    Raises:
        BadSource: the method knows categories only, and that of this reference did not train.
        BadBatch: more references than the method was trained with.
    """
    category = reference.category
    if method.settings.per_category and category not in release.categories:
        raise BadSource(
            f"Model {release.model_id} has one adapter per category, and none for"
            f" {category or reference.name!r}: name a clip_id of one of {', '.join(release.categories)}, or"
            " train with method.kind=video2lora."
        )
    shown = (reference, *more)
    condition = method.condition(_read(backbone, method, shown).to(device_of(method)))
    if reference.stored and (vector := method.vector(condition)) is not None:
        numbers = vector.numpy()
        row = {
            "clip_id": reference.name,
            "model_id": release.model_id,
            "vector": numbers,
            "projection": numbers / max(float(np.linalg.norm(numbers)), 1e-12),
            "created_at": datetime.now(UTC),
        }
        catalog.upsert("adapters", [row])
    facts = {
        "model_id": release.model_id,
        "reference": reference.name if reference.stored else "a file",
        "category": category,
        "transformer": backbone.transformer_id,
        "max_sequence_length": backbone.settings.max_text_tokens,
    }
    return Adapter(condition, method.export(condition), facts)


def _read(backbone: Backbone, method: Method, references: Sequence[Reference]) -> References:
    """What the method needs of one sample's references, a batch of one."""
    needs, found = method.settings.needs, References((references[0].category,))
    if "latents" in needs:
        means = (backbone.encode_video(each.frames)[0].float() for each in references)
        padded = [pad_reference(mean, backbone.latent_shape) for mean in means]
        latents, mask = (torch.cat(each)[None] for each in zip(*padded, strict=True))
        found = replace(found, latents=latents, mask=mask, padded=not bool(mask.all()))
    if "first_frame" in needs:
        firsts = [backbone.encode_first_frame(each.frames[0]) for each in references]
        found = replace(found, first_frames=torch.cat(firsts)[None])
    if "text" in needs:
        found = replace(found, texts=backbone.encode_text([each.caption for each in references])[None])
    return found
