"""A checkpoint that a method's authors released, taken in as a model of a catalogue."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from catalog.models import keep_model
from catalog.store import Catalog
from training.backbones.registry import load_backbone, locate_backbone
from training.backbones.settings import BackboneSettings
from training.methods.frozen import require_family
from training.methods.registry import build_method, released
from training.release import Release, publish_tensors
from training.settings import GenerateSettings


def import_model(
    catalog: Catalog,
    folder: Path,
    models: Path,
    backbone: BackboneSettings,
    generate: GenerateSettings,
    config: dict[str, Any],
    code_revision: str,
) -> Release:
    """Make a model's folder in `models` and its row of a released checkpoint; what is there stays as it is.

    Args:
        folder: of the checkpoint; what it was trained beside has to be the backbone.
        generate: what clips are sampled with where nothing else is said.
        config: the complete configuration, as JSON.

    Raises:
        WeightsUnreachable: no checkpoint that can be read, or no backbone.
        BadMethodSettings: the backbone is of another family.
        StateMismatch: the backbone is another model than the one that it was trained beside.
    """
    settings, load = released(folder)
    require_family(settings, backbone.family)
    located = locate_backbone(backbone)
    method = build_method(settings, load_backbone(backbone, ["transformer"]).dit)
    load(method)
    facts = {
        "method": settings.model_dump(mode="json"),
        "backbone": backbone.model_dump(mode="json"),
        "generate": generate.model_dump(mode="json"),
        "transformer": located.transformer_id,
        "encoder_id": located.encoder_id,
        "imported_from": folder.name,
    }
    release = publish_tensors(method.trainable_state(), models, torch.bfloat16, facts)
    row = {
        "model_id": release.model_id,
        "run_id": f"import-{hashlib.sha256(release.model_id.encode()).hexdigest()[:12]}",
        "method": settings.kind,
        "path": keep_model(catalog, release.path),
        "snapshot": catalog.snapshot().to_json(),
        "config": config | {"method": facts["method"], "imported_from": folder.name},
        "code_revision": code_revision,
        "metrics": {},
        "bytes": release.bytes,
        "created_at": datetime.now(UTC),
    }
    catalog.upsert("models", [row])
    return release
