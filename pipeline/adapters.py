"""What a model makes of one reference: predicted, kept in the catalogue, ready to run under or to export."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch
from torch import Tensor

from catalog.store import Catalog
from pipeline.errors import BadSource
from training.backbones.base import Backbone
from training.batch import References, pad_reference
from training.methods.base import Condition, Method, device_of
from training.release import Release


@dataclass(frozen=True)
class Adapter:
    """Of one reference.

    Attributes:
        condition: what `Method.under` takes, a batch of one.
        lora: tensors that diffusers loads, where the method can export any.
        facts: JSON, where it comes from.
    """

    condition: Condition
    lora: dict[str, Tensor] | None
    facts: dict[str, str]


@torch.no_grad()
def predict_adapter(
    backbone: Backbone, method: Method, release: Release, catalog: Catalog, name: str, frames: np.ndarray
) -> Adapter:
    """The adapter of a reference; that of a clip of the catalogue is stored there.

    Args:
        name: of the reference: a clip_id, or a file.
        frames: uint8 [n, H, W, 3].

    Raises:
        BadSource: the method knows categories only, and that of this reference did not train.
    """
    known = catalog.get("clips", [name], ["clip_id", "category_id"]).to_pylist()
    category = (known[0]["category_id"] if known else None) or ""
    if method.settings.per_category and category not in release.categories:
        raise BadSource(
            f"Model {release.model_id} has one adapter per category and none for {category or name!r}: name a"
            f" clip_id of one of {', '.join(release.categories)}, or train with method.kind=video2lora."
        )
    latents = mask = None
    if "latents" in method.settings.needs:
        mean, _ = backbone.encode_video(frames)
        latents, mask = (each[None] for each in pad_reference(mean.float(), backbone.latent_shape))
    condition = method.condition(References((category,), latents, mask).to(device_of(method)))
    if known and (vector := method.vector(condition)) is not None:
        numbers = vector.numpy()
        row = {
            "clip_id": name,
            "model_id": release.model_id,
            "vector": numbers,
            "projection": numbers / max(float(np.linalg.norm(numbers)), 1e-12),
            "created_at": datetime.now(UTC),
        }
        catalog.upsert("adapters", [row])
    return Adapter(condition, method.export(condition), {"model_id": release.model_id, "reference": name})
