"""A trained model as users keep it: one safetensors file and the facts that say what it fits.

    <model_id>/
        model.safetensors   trainable tensors: averaged ones where the run kept an average
        model.json          method settings, backbone, where it came from, checksum

The model_id is derived from the tensors, so the same training gives the same model.
"""

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.backbones.base import Backbone
from training.backbones.registry import locate_backbone
from training.backbones.settings import BackboneSettings
from training.backbones.weights import POCKET
from training.errors import TrainingError
from training.files import write_atomically, written
from training.methods.base import Method
from training.methods.registry import MethodSettings, build_method, parse_settings
from training.run.checkpoint import read_model, read_tensors

TENSORS, FACTS = "model.safetensors", "model.json"
AGAIN = (
    "Run the `video2lora train` that made it once more: it writes the model again from the run's last"
    " checkpoint, and trains only where there is none."
)
logger = logging.getLogger(__name__)


class ReleaseError(TrainingError):
    """A model folder that cannot be used: missing, corrupt, or made for another backbone."""


@dataclass(frozen=True)
class Release:
    """One model folder.

    Attributes:
        model_id: the method's kind and the beginning of the tensors' SHA-256.
        path: the folder.
        facts: what `model.json` says.
    """

    model_id: str
    path: Path
    facts: dict[str, Any]

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that trained."""
        return tuple(self.facts.get("categories", ()))

    @property
    def bytes(self) -> int:
        """Size of the tensor file."""
        return (self.path / TENSORS).stat().st_size


def publish(
    checkpoint: Path,
    folder: Path,
    dtype: torch.dtype,
    facts: dict[str, Any],
    untrained: Mapping[str, Tensor] | None = None,
) -> Release:
    """Make a model folder of a checkpoint.

    Args:
        checkpoint: a step folder, verified here.
        folder: of all models; the model gets a folder of its own in it.
        dtype: of the stored tensors; bfloat16 is what the paper's sizes count.
        facts: JSON; `method` and `backbone` (settings), `transformer` and `encoder_id` (of the backbone) and
            `categories` (that trained) are needed to load it again.
        untrained: tensors of the model that did not train in this run, and so are in no checkpoint.

    Raises:
        CheckpointError: the checkpoint is torn or corrupt.
    """
    return publish_tensors({**read_model(checkpoint), **(untrained or {})}, folder, dtype, facts)


def publish_tensors(
    tensors: Mapping[str, Tensor], folder: Path, dtype: torch.dtype, facts: dict[str, Any]
) -> Release:
    """Make a model folder of trained tensors; see `publish`. One that is there and whole stays as it is."""
    tensors = {name: value.to("cpu", dtype).contiguous() for name, value in tensors.items()}
    digest = _digest(tensors)
    model_id = f"{facts['method']['kind']}-{digest[:12]}"
    final = folder / model_id
    facts = {"model_id": model_id, "tensors_sha256": digest, **facts}
    if final.exists():
        try:
            verified_tensors(read_release(final))
            return Release(model_id, final, facts)
        except TrainingError:
            logger.warning("%s is damaged: it is written again.", final)
    partial = folder / f".{model_id}-{uuid.uuid4().hex}"
    partial.mkdir(parents=True)
    with written(partial / TENSORS) as file:
        save_file(tensors, file, metadata={"format": "pt", "model_id": model_id})
    write_atomically(partial / FACTS, json.dumps(facts, indent=2) + "\n")
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    return Release(model_id, final, facts)


def read_release(path: Path) -> Release:
    """The facts of a model folder, its tensors not yet read.

    Raises:
        ReleaseError: there is no model there, or its facts do not fit its tensors.
    """
    try:
        facts = json.loads((path / FACTS).read_text("utf-8"))
        with safe_open(path / TENSORS, framework="pt") as file:
            named = (file.metadata() or {}).get("model_id")
    except (OSError, ValueError, SafetensorError) as error:
        raise ReleaseError(
            f"{path} holds no readable model ({error}). Train one with `video2lora train`."
        ) from error
    if not isinstance(facts, dict) or facts.get("model_id") != named:
        raise ReleaseError(f"{path / FACTS} does not belong to the tensors beside it. {AGAIN}")
    return Release(facts["model_id"], path, facts)


def load_release(release: Release, backbone: Backbone) -> Method:
    """The trained module on a backbone, ready for inference.

    Raises:
        ReleaseError: corrupt tensors, or a model that was trained on another backbone.
        StateMismatch: tensors of other shapes than the settings beside them say.
    """
    if other := other_part(release, backbone):
        raise ReleaseError(
            f"Model {release.model_id} was trained on {other} than {backbone.folder} holds. Set"
            f" backbone.model to the one it was trained on{told_backbone(release)}."
        )
    method = build_method(method_settings(release), backbone.dit, release.categories)
    method.load_trainable_state(verified_tensors(release))
    return method.eval()


def take_release(release: Release, method: Method) -> None:
    """Take a model's tensors into a module that is built already.

    Raises:
        ReleaseError, StateMismatch: corrupt tensors, or another model's.
    """
    method.load_trainable_state(verified_tensors(release))


def method_settings(release: Release) -> MethodSettings:
    """What the model was trained with; raises ReleaseError where the facts do not say it."""
    try:
        return parse_settings(release.facts["method"])
    except (KeyError, ValidationError) as error:
        raise ReleaseError(f"{release.path / FACTS} has no usable method settings ({error}).") from error


# How a backbone's encoder is run, not which it is: free to choose anew for a video or a run.
_HOW_ENCODED = {"num_frames", "height", "width", "max_text_tokens", "dtype", "vae_tiling"}


def other_part(release: Release, backbone: Backbone) -> str | None:
    """What of a backbone is not what the model was trained with; None where all is."""
    if release.facts.get("transformer") != backbone.transformer_id:
        return "another transformer"
    try:
        theirs = BackboneSettings.model_validate(release.facts["backbone"])
        encoder_id = release.facts["encoder_id"]
    except (KeyError, ValidationError) as error:
        raise ReleaseError(
            f"{release.path / FACTS} does not say what the model was trained on ({error}). Train it again."
        ) from error
    same = {"model": str(backbone.folder), **theirs.model_dump(include=_HOW_ENCODED)}
    located = locate_backbone(backbone.settings.model_copy(update=same), ["vae", "text"])
    if encoder_id != located.encoder_id:
        return "another VAE or text encoder, or another backbone.first_frame_scale,"
    return None


def told_backbone(release: Release) -> str:
    """What a model was trained on, as a person sets it, in brackets; "" where the model does not say."""
    facts = release.facts.get("backbone", {})
    # Of one name there may be a model of every family.
    family = facts.get("family", BackboneSettings.model_fields["family"].default)
    return f" ({facts['model']} of backbone.family={family})" if facts.get("model") else ""


def find_start(name: str, kind: str) -> Release | None:
    """The model that `train.start_from` names: a model folder, or "pocket", the shipped one of that method.

    Returns None where "pocket" is asked for and no model of the method is shipped.

    Raises:
        ReleaseError: there is no model there.
    """
    if name == "pocket":
        shipped = shipped_model()
        return shipped if method_settings(shipped).kind == kind else None
    return read_release(Path(name).expanduser())


def shipped_model() -> Release:
    """The model that comes with the pocket backbone."""
    return read_release(POCKET / "hypernetwork")


def verified_tensors(release: Release) -> dict[str, Tensor]:
    """The tensors of a model in fp32, their checksum verified."""
    tensors = read_tensors(release.path / TENSORS)
    if _digest(tensors) != release.facts.get("tensors_sha256"):
        raise ReleaseError(f"{release.path / TENSORS} is corrupt: its checksum differs. {AGAIN}")
    return {name: value.float() for name, value in tensors.items()}


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
