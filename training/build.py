"""What a run's module is made of: a method on a frozen DiT, the model that it begins with, its teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.backbones.base import Backbone
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.methods.base import Method
from training.methods.lightlora.layers import auxiliary_of
from training.methods.registry import MethodSettings, build_method
from training.release import (
    Release,
    ReleaseError,
    method_settings,
    other_part,
    read_release,
    told_backbone,
    verified_tensors,
)


@dataclass(frozen=True)
class Teacher:
    """Adapters that a method learns to predict.

    Attributes:
        name: by which they are stored.
        folder: of the model under whose auxiliary matrices they mean something; None: not looked for yet.
        spread: of the adapters; see `Method.learn_from`.
    """

    name: str
    folder: Path | None = None
    spread: float = 1.0

    def auxiliary(self) -> dict[str, Tensor] | None:
        """The matrices, fp32; None where they have not been looked for."""
        return None if self.folder is None else auxiliary_of(verified_tensors(read_release(self.folder)))


@dataclass(frozen=True)
class BuildMethod:
    """Builds a method's module inside a worker: picklable, loads the frozen transformer where it is called.

    Attributes:
        backbone, method: which, and how.
        categories: that train, sorted.
        seed: of the initial values.
        start_from: the folder of a trained model whose tensors it begins with; see `require_start`.
        teacher: whose adapters it learns to predict, instead of velocities; see `require_teacher`.
    """

    backbone: BackboneSettings
    method: MethodSettings
    categories: tuple[str, ...] = ()
    seed: int = 0
    start_from: Path | None = None
    teacher: Teacher | None = None

    def __call__(self) -> Method:
        return self.on(load_backbone(self.backbone, ["transformer"]))

    def on(self, backbone: Backbone) -> Method:
        """The module on a backbone that is loaded already."""
        module = build_method(self.method, backbone.dit, self.categories, self.seed)
        if self.start_from is not None:
            module.load_trainable_state(verified_tensors(read_release(self.start_from)))
        if self.teacher is not None:
            module.learn_from(self.teacher.auxiliary(), self.teacher.spread)
        return module

    def on_meta(self, backbone: Backbone) -> Method:
        """The module without storage: every name, shape and count, no weight."""
        with torch.device("meta"):
            module = build_method(self.method, backbone.meta_dit(), self.categories, self.seed)
        if self.teacher is not None:
            module.learn_from(None, self.teacher.spread)
        return module


def require_start(
    release: Release, backbone: Backbone, settings: MethodSettings, categories: Sequence[str] = ()
) -> None:
    """Check that a run on that backbone, with those settings and categories, can begin with the model.

    Raises:
        ReleaseError: it cannot.
    """
    begin = f"train.start_from names {release.model_id}, which was trained"
    instead = "or train.start_from=null to begin from nothing."
    theirs, ours = (s.structure() for s in (method_settings(release), settings))
    _require_same(release, backbone, theirs, ours, begin, instead)
    if settings.per_category and tuple(categories) != release.categories:
        raise ReleaseError(
            f"{begin} for other categories ({len(release.categories)}, not {len(categories)}). Train on the"
            f" same, {instead}"
        )


def require_teacher(
    release: Release, backbone: Backbone, settings: MethodSettings, start: Release | None = None
) -> None:
    """Check that a run on that backbone, with those settings and that start, can learn a model's adapters.

    Raises:
        ReleaseError: it cannot.
    """
    begin = f"train.teacher names adapters of {release.model_id}, which was trained"
    instead = "or train.teacher=null."
    theirs, ours = (each.adapter() for each in (method_settings(release), settings))
    _require_same(release, backbone, theirs, ours, begin, instead)
    if start is None or start.model_id == release.model_id:
        return
    own, shown = (auxiliary_of(verified_tensors(each)) for each in (start, release))
    if any(not torch.equal(own[name], shown[name]) for name in shown):
        raise ReleaseError(
            f"train.start_from names {start.model_id}, whose auxiliary matrices are not those of"
            f" {release.model_id}, the teacher's: its predictions mean something else. Set"
            " train.start_from=null, or to a model that learned from the same teacher."
        )


def _require_same(
    release: Release, backbone: Backbone, theirs: dict, ours: dict, begin: str, instead: str
) -> None:
    """Refuse a model of another backbone or of other settings; the sentence begins and ends as given."""
    if other := other_part(release, backbone):
        raise ReleaseError(
            f"{begin} on {other}. Set backbone.model to that one{told_backbone(release)}, {instead}"
        )
    if different := [f"method.{name}={theirs.get(name)}" for name in ours if theirs.get(name) != ours[name]]:
        raise ReleaseError(f"{begin} with {', '.join(different)}. Set the same, {instead}")
