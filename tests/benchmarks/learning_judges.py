"""Who judges generated clips: nets that name a clip's effect and its subject, trained on real renders."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.samples.render import EDITION
from pipeline.samples.scene import make_scene
from pipeline.samples.subjects import SUBJECTS
from tests.benchmarks.effect_clips import TEST_FROM, TRAIN_FROM, render_all
from training.evaluation.effect import EffectNet, predictions, to_classifier, train_classifier
from training.files import written

KINDS = tuple(SUBJECTS)


@dataclass(frozen=True)
class Judges:
    """The two nets, and how often they are right about renders of scenes that they never saw.

    Attributes:
        names: the effects that `effect_net` tells apart.
        told: shares of right answers, and the effects that were taken for one another most often.
    """

    names: tuple[str, ...]
    effect_net: nn.Module
    subject_net: nn.Module
    told: dict[str, Any]

    @classmethod
    def trained(
        cls, names: Sequence[str], kept: Path, device: torch.device, per_effect: int, epochs: int
    ) -> Self:
        """Train both on so many renders of each effect; what was trained is kept in a folder."""
        file = kept / f"nets-{EDITION}-{per_effect}-{epochs}-{len(names)}.safetensors"
        if file.exists():
            return cls._read(names, file, device)
        clips, effects, shown = _renders(names, TRAIN_FROM, per_effect, kept)
        others, *asked = _renders(names, TEST_FROM, max(1, per_effect // 8), kept)
        nets = [
            train_classifier((clips, labels), classes, epochs=epochs, device=device, batch=64)
            for labels, classes in ((effects, len(names)), (shown, len(KINDS)))
        ]
        found = [predictions(net, others) for net in nets]
        right = [float((a == b).float().mean()) for a, b in zip(found, asked, strict=True)]
        wrong = found[0] != asked[0]
        confused = Counter(
            f"{names[label]} > {names[other]}"
            for label, other in zip(asked[0][wrong].tolist(), found[0][wrong].tolist(), strict=True)
        )
        told = {"effects": right[0], "subjects": right[1], "confused": dict(confused.most_common(20))}
        tensors = {
            f"{place}.{name}": value.detach().cpu().contiguous()
            for place, net in enumerate(nets)
            for name, value in net.state_dict().items()
        }
        with written(file) as partial:
            save_file(tensors, partial, metadata={"told": json.dumps(told)})
        return cls(tuple(names), *nets, told)

    @classmethod
    def _read(cls, names: Sequence[str], file: Path, device: torch.device) -> Self:
        nets = [EffectNet(classes).to(device).eval() for classes in (len(names), len(KINDS))]
        with safe_open(file, "pt") as opened:
            for place, net in enumerate(nets):
                net.load_state_dict({name: opened.get_tensor(f"{place}.{name}") for name in net.state_dict()})
            return cls(tuple(names), *nets, json.loads(opened.metadata()["told"]))

    def effects(self, clips: Sequence[Tensor]) -> list[str]:
        """The effect that is found in each clip uint8 [49, H, W, 3]."""
        return [self.names[place] for place in _places(self.effect_net, clips)]

    def subjects(self, clips: Sequence[Tensor]) -> list[str]:
        """The subject that is found in each clip."""
        return [KINDS[place] for place in _places(self.subject_net, clips)]


def _places(net: nn.Module, clips: Sequence[Tensor]) -> list[int]:
    return predictions(net, torch.stack([to_classifier(clip) for clip in clips])).tolist()


def _renders(names: Sequence[str], first: int, count: int, kept: Path) -> tuple[Tensor, Tensor, Tensor]:
    """`count` clips of every effect, uint8 [n, 3, 17, 32, 48], and the indices of effects and subjects."""
    kept.mkdir(parents=True, exist_ok=True)
    file = kept / f"{EDITION}-{first}-{count}-{len(names)}.npy"
    seeds = [[first + len(names) * turn + place for turn in range(count)] for place in range(len(names))]
    if not file.exists():
        np.save(file, render_all(names, seeds))
    shown = [KINDS.index(make_scene(seed).subject) for row in seeds for seed in row]
    return (
        torch.from_numpy(np.load(file)),
        torch.arange(len(names)).repeat_interleave(count),
        torch.tensor(shown),
    )
