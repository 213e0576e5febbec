"""What can be measured here, by which weights; and of every other metric, why not."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from pipeline.embedding.clip_weights import ClipFiles, EmbedderUnreachable, find_clip
from pipeline.embedding.settings import EmbedSettings
from pipeline.evaluation.settings import EvaluateSettings
from training.evaluation.aesthetic import WIDTH
from training.evaluation.consistency import build_dino
from training.evaluation.dynamic_degree import build_raft
from training.evaluation.i3d import build_i3d
from training.evaluation.weights import Unavailable, find_weights, require_tensors

FVD = ("fvd_crop", "fvd_squash")
CLIP = ("clip_reference", "clip_prompt")
AESTHETIC_MODEL = "ViT-L-14"
# Raised where a metric computes something else than it did: what was measured before is measured again.
EDITION = "1"


@dataclass(frozen=True)
class Measuring:
    """A plan to measure, picklable.

    Attributes:
        by: metric → what measures it: a fingerprint of weights and definition.
        unavailable: metric → why it cannot be measured, to be read after "because".
        files: weights by the name of their setting.
        classifier: of effects.
    """

    by: dict[str, str]
    unavailable: dict[str, str]
    files: dict[str, Path]
    classifier: Path | None = None

    def wanted(self, metrics: Sequence[str]) -> dict[str, str]:
        """Those of these metrics that can be measured, with what measures them."""
        return {name: self.by[name] for name in metrics if name in self.by}

    def lacking(self, metric: str, because: str) -> "Measuring":
        """The same without a metric."""
        by = {name: value for name, value in self.by.items() if name != metric}
        return replace(self, by=by, unavailable=self.unavailable | {metric: because})

    def judged(self, classifier: Path) -> "Measuring":
        """The same with a classifier of effects."""
        by = self.by | {"effect": f"classifier {digest_of(classifier)}, {EDITION}"}
        return replace(self, by=by, classifier=classifier)


def plan_measuring(settings: EvaluateSettings, embed: EmbedSettings, metrics: Sequence[str]) -> Measuring:
    """Find the weights of the metrics that are asked for; their headers are checked, nothing is loaded.

    The transfer gap and the classifier of effects need no weights from outside: see `judged`.

    Raises:
        BadWeights, UnknownEmbedder: weights that a person named and that cannot be used.
    """
    found = Measuring({}, {}, {})
    for setting, names, what, build in (
        ("i3d", FVD, "I3D", build_i3d),
        ("raft", ("dynamic_degree",), "RAFT (large)", build_raft),
        ("dino", ("consistency",), "DINO ViT-B/16", build_dino),
        ("aesthetic_head", ("aesthetic",), "the aesthetic head", lambda: nn.Linear(WIDTH, 1)),
    ):
        wanted = [name for name in names if name in metrics]
        if wanted:
            found = _with_weights(found, settings, setting, wanted, what, build)
    if "aesthetic" in found.by:
        found = _with_clip(found, AESTHETIC_MODEL, settings.aesthetic_clip, ["aesthetic"])
    if wanted := [name for name in CLIP if name in metrics]:
        found = _with_clip(found, embed.model, embed.pretrained, wanted, embed.frames)
    if "smoothness" in metrics:
        found = replace(found, by=found.by | {"smoothness": f"{settings.interpolator}, {EDITION}"})
    return found


def _with_weights(
    found: Measuring,
    settings: EvaluateSettings,
    setting: str,
    metrics: Sequence[str],
    what: str,
    build: Callable[[], nn.Module],
) -> Measuring:
    try:
        file = find_weights(getattr(settings, setting), f"evaluate.{setting}", what)
    except Unavailable as reason:
        return replace(found, unavailable=found.unavailable | dict.fromkeys(metrics, str(reason)))
    require_tensors(build(), file, what)
    by = {name: f"{what} {digest_of(file)}, {EDITION}" for name in metrics}
    return replace(found, by=found.by | by, files=found.files | {setting: file})


def _with_clip(
    found: Measuring, model: str, pretrained: str, metrics: Sequence[str], frames: int = 1
) -> Measuring:
    try:
        files: ClipFiles = find_clip(model, pretrained)
    except EmbedderUnreachable as reason:
        for name in metrics:
            found = found.lacking(name, str(reason).rstrip("."))
        return found
    name = files.embedder_id(frames)
    by = {metric: ", ".join(filter(None, [found.by.get(metric), name, EDITION])) for metric in metrics}
    return replace(found, by=found.by | by)


def digest_of(file: Path) -> str:
    """The beginning of a file's SHA-256."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
