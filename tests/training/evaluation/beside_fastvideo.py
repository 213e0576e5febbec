"""What `fastvideo.eval`, an implementation that others wrote, finds of made-up clips and random networks.

`python -m tests.training.evaluation.beside_fastvideo FOLDER` prints JSON. A process of its own: fastvideo
lies in a folder beside the environment (see the Makefile), for it installs packages with names of ours.
"""

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

BESIDE = Path(sys.executable).parent.parent / "beside"


def clips(number: int = 3) -> np.ndarray:
    """Clips uint8 [number, 17, 64, 96, 3], in which a square moves faster in each."""
    found = np.random.default_rng(5).integers(0, 80, (number, 17, 64, 96, 3), dtype=np.uint8)
    for clip in range(number):
        for frame in range(17):
            left = (frame * 2 * (clip + 1)) % 70
            found[clip, frame, 20:44, left : left + 24] = 200
    return found


def features(seed: int, number: int = 40) -> np.ndarray:
    """Features [number, 12]."""
    return np.random.default_rng(seed).normal(seed / 4, 1 + seed / 5, (number, 12))


def network(outside: int) -> nn.Module:
    """Random weights over pictures: channels and a coarse grid → a vector."""
    torch.manual_seed(outside)
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, outside)).eval()


def flow_between(first: Tensor, second: Tensor) -> Tensor:
    """Something like flow [n, 2, H, W] between pictures [n, 3, H, W] with values up to 255."""
    change = (second - first)[:, :2]
    return change / 20


class Video(nn.Module):
    """A network that is called as the usual TorchScript I3D is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.head = nn.Linear(3 * 4 * 8 * 8, 400)

    def forward(
        self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = True
    ) -> Tensor:
        return self.head(nn.functional.adaptive_avg_pool3d(x, [4, 8, 8]).flatten(1))


def main() -> None:
    sys.path.append(str(BESIDE))
    from fastvideo.eval.metrics.common.fvd import extractors, metric
    from fastvideo.eval.metrics.vbench.aesthetic_quality.metric import AestheticQualityMetric
    from fastvideo.eval.metrics.vbench.dynamic_degree.metric import DynamicDegreeMetric
    from fastvideo.eval.metrics.vbench.subject_consistency.metric import SubjectConsistencyMetric

    folder = Path(sys.argv[1])
    videos = [torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255 for clip in clips()]
    sides = [metric._gaussian_params(features(seed)) for seed in (0, 1)]
    found: dict[str, object] = {"frechet": metric._frechet_distance(*sides[0], *sides[1], eps=0.0)}

    torch.jit.script(Video()).save(str(folder / "own.pt"))
    sys.modules["fastvideo.eval.models"].ensure_checkpoint = lambda *_, **__: str(folder / "own.pt")
    extractor = extractors.load_extractor("i3d", torch.device("cpu"))
    found["logits"] = extractor.forward(torch.stack(videos)).tolist()

    consistency = SubjectConsistencyMetric()
    consistency._model = network(16)
    found["consistency"] = [consistency.compute({"video": video}).score for video in videos]

    aesthetic = AestheticQualityMetric()
    aesthetic._clip_model = types.SimpleNamespace(encode_image=network(768))
    torch.manual_seed(1)
    aesthetic._aesthetic_head = nn.Linear(768, 1)
    found["aesthetic"] = [aesthetic.compute({"video": video}).score for video in videos]

    class Whole:
        """In the place of RAFT's padder, for pictures that need none."""

        def __init__(self, shape: object) -> None: ...

        def pad(self, *pictures: Tensor) -> tuple[Tensor, ...]:
            return pictures

    name = "vbench.third_party.RAFT.core.utils_core.utils"
    for depth in range(1, name.count(".") + 2):
        sys.modules.setdefault(".".join(name.split(".")[:depth]), types.ModuleType("stand-in"))
    sys.modules[name].InputPadder = Whole
    dynamic = DynamicDegreeMetric()
    dynamic._model = lambda first, second, **_: (None, flow_between(first, second))
    found["dynamic"] = {
        fps: [dynamic.compute({"video": video, "fps": fps}).score for video in videos] for fps in (8, 16, 24)
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
