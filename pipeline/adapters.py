"""What a model makes of references: predicted, kept in the catalogue, added up, written and read again."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from catalog.store import Catalog
from pipeline.errors import BadSource
from pipeline.example import is_there, read_clip_of, read_reference
from pipeline.features.stored import read_features
from training.backbones.base import Backbone
from training.batch import References, pad_reference
from training.errors import BadAdapter
from training.files import written
from training.methods.base import Condition, Method, device_of
from training.methods.lightlora.file import read_adapter_file
from training.release import Release
from training.settings import PolishSettings

# Below these a clip shows next to nothing: mean grey level, mean change between frames, of 255.
DARK, STILL = 6.0, 0.5
FEW_FRAMES = 12
# Numbers by which adapters are compared.
PROJECTED = 256
# Stands in the name of polished adapters, behind their model's.
POLISHED = "+polish-"


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
        """A clip of the catalogue, or a stranger's video or picture; raises BadSource where it is neither."""
        known = catalog.get("clips", [name], ["clip_id", "category_id", "caption"]).to_pylist()
        row = known[0] if known else {}
        frames = read_clip_of(catalog, name) if known else read_reference(catalog, name)
        return cls(name, frames, row.get("category_id") or "", bool(known), row.get("caption") or "")

    @property
    def told(self) -> str:
        """What others are told of it: a file's name is its owner's affair."""
        return self.name if self.stored else "a file"

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
        raise BadSource(
            f"Model {adapter.facts['model_id']} makes no adapter that could be written as one; what"
            " has a LoRA is written by `video2lora adapter export`."
        )
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
    condition = method.condition(_read(backbone, method, catalog, shown).to(device_of(method)))
    _require_finite(condition, release, reference)
    if reference.stored and not more and (vector := method.vector(condition)) is not None:
        keep_adapters(catalog, release.model_id, {reference.name: vector.numpy()})
    facts = {
        "model_id": release.model_id,
        "reference": reference.told,
        "category": category,
        "transformer": backbone.transformer_id,
        "max_sequence_length": backbone.settings.max_text_tokens,
    }
    return Adapter(condition, method.export(condition), facts)


def keep_adapters(catalog: Catalog, model_id: str, vectors: Mapping[str, np.ndarray]) -> None:
    """Store adapters by clip_id, fp32 [n] each, and beside each its `projected`."""
    now = datetime.now(UTC)
    rows = [
        {
            "clip_id": clip_id,
            "model_id": model_id,
            "vector": vector,
            "projection": projected(vector),
            "created_at": now,
        }
        for clip_id, vector in vectors.items()
    ]
    catalog.upsert("adapters", rows)


def polished_name(model_id: str, settings: PolishSettings, seed: int) -> str:
    """The name under which a model's adapters are stored that were polished so, each to its own clip.

    It begins with the model, under whose auxiliary matrices alone they mean something; see `owner_of`.
    """
    how = settings.model_dump(mode="json", exclude={"at_once", "activation_checkpointing"})
    said = hashlib.sha256(json.dumps([how, seed], sort_keys=True).encode()).hexdigest()[:6]
    return f"{model_id}{POLISHED}{settings.steps}-{said}"


def owner_of(name: str) -> str:
    """The model whose adapters are stored under a name."""
    return name.partition(POLISHED)[0]


def projected(vector: np.ndarray) -> np.ndarray:
    """An adapter [n] as PROJECTED numbers, fp32, whose angles to others are all but those of the adapters.

    A Gaussian random projection, the same for every adapter of n numbers. Not brought to length 1: what a
    model's adapters have in common is taken off where they are compared.
    """
    return (vector.astype(np.float32) @ _projection(len(vector))).astype(np.float32)


@lru_cache(maxsize=2)
def _projection(size: int) -> np.ndarray:
    drawn = np.random.default_rng(size).standard_normal((size, PROJECTED), dtype=np.float32)
    return drawn / np.float32(math.sqrt(PROJECTED))


def load_adapter(path: Path | str, backbone: Backbone, method: Method, release: Release) -> Adapter:
    """An adapter from a file: one that `save_adapter` wrote, or a LoRA of the backbone, whoever trained it.

    Raises:
        BadAdapter: it is neither, is damaged, or belongs to another model.
    """
    file = read_adapter_file(Path(path))
    owner = file.facts.get("model_id")
    if file.theta is not None and owner != release.model_id:
        raise BadAdapter(
            f"{path} is an adapter of model {owner!r}, and means nothing to {release.model_id}: name that"
            " model with --model, or use the LoRA beside it, which fits the backbone."
            if owner
            else f"{path} does not say which model it belongs to, and fits that one alone: use its LoRA."
        )
    trained_on = file.facts.get("transformer")
    if trained_on is not None and trained_on != backbone.transformer_id:
        raise BadAdapter(
            f"{path} was made for another transformer than {backbone.folder} holds: set backbone.model to"
            " the one it was made on."
        )
    condition = method.load(file)
    facts = file.facts | {
        "model_id": release.model_id,
        "transformer": backbone.transformer_id,
        "max_sequence_length": backbone.settings.max_text_tokens,
    }
    return Adapter(condition, method.export(condition), {"reference": "a file"} | facts)


@torch.no_grad()
def blend_adapters(method: Method, adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    """The adapter whose residual is the weighted sum of theirs; one at weight 1 is itself.

    Raises:
        BadSource: no weights, not one each, or one that is no finite number.
        BadMethodSettings: the model's conditions cannot be added up.
    """
    if len(weights) != len(adapters) or not adapters:
        raise BadSource(f"{len(adapters)} adapters have {len(weights)} weights: each needs one.")
    if odd := [weight for weight in weights if not math.isfinite(weight)]:
        raise BadSource(f"A weight of {odd[0]} is no finite number; 1 takes an adapter as it is.")
    if list(weights) == [1]:
        return adapters[0]
    condition = method.blend([each.condition for each in adapters], weights)
    parts = [
        {"reference": each.facts["reference"], "weight": weight}
        for each, weight in zip(adapters, weights, strict=True)
    ]
    facts = adapters[0].facts | {"blend": parts} if len(parts) > 1 else adapters[0].facts
    return Adapter(condition, method.export(condition), facts)


def parse_weighted(catalog: Catalog, text: str) -> tuple[str, float | None]:
    """A name and its weight, of "melt.mp4=0.7"; None where it has none. What has the whole name goes first.

    Raises:
        BadSource: what is behind the equals sign is no finite number.
    """
    name, equals, weight = text.rpartition("=")
    if not equals or is_there(text) or catalog.get("clips", [text], ["clip_id"]).num_rows:
        return text, None
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not name:
        raise BadSource(
            f"{text!r} is neither a file nor a clip_id, and {weight!r} is no weight; write melt.mp4=0.7."
        )
    return name, number


def _require_finite(condition: Condition, release: Release, reference: Reference) -> None:
    if isinstance(condition, Tensor) and not condition.isfinite().all():
        raise BadAdapter(
            f"Model {release.model_id} makes no finite numbers of the reference {reference.name!r}: its"
            " weights are damaged, or the backbone's. Train it again, or name another with --model."
        )


def _read(
    backbone: Backbone, method: Method, catalog: Catalog, references: Sequence[Reference]
) -> References:
    """What the method needs of one sample's references, a batch of one.

    Clips that this encoder has encoded are not encoded again.
    """
    needs, found = method.settings.needs, References((references[0].category,))
    stored = {}
    if names := [each.name for each in references if each.stored]:
        stored = read_features(catalog, backbone.encoder_id, names, needs)

    def of(each: Reference, need: str, encode: Callable[[Reference], Tensor]) -> Tensor:
        if each.name in stored:
            return stored[each.name][need].to(backbone.settings.torch_dtype)
        return encode(each).cpu()

    if "latents" in needs:
        means = [of(each, "latents", lambda r: backbone.encode_video(r.frames)[0]) for each in references]
        padded = [pad_reference(mean.float(), backbone.latent_shape) for mean in means]
        latents, mask = (torch.cat(each)[None] for each in zip(*padded, strict=True))
        found = replace(found, latents=latents, mask=mask, padded=not bool(mask.all()))
    if "first_frame" in needs:
        firsts = [
            of(each, "first_frame", lambda r: backbone.encode_first_frame(r.frames[0])[0])
            for each in references
        ]
        found = replace(found, first_frames=torch.stack(firsts)[None])
    if "text" in needs:
        texts = [of(each, "text", lambda r: backbone.encode_text([r.caption])[0]) for each in references]
        found = replace(found, texts=torch.stack(texts)[None])
    return found
