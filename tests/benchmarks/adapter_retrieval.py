"""Do the adapters that a model predicts bring clips of one effect together, better than what they look like?

`python -m tests.benchmarks.adapter_retrieval` renders clips of the categories that the shipped model knows
and of the first 48 that it was never taught, predicts their adapters, and compares by category: mAP and 1-NN
of the adapters θ, of the projection that the catalogue keeps (each with what all have in common taken off, as
`search --by adapter` does), of the residuals B A themselves, and of the catalogue's descriptor. Prints one
JSON object as its last line.
"""

import argparse
import json

import numpy as np
import torch

from pipeline.adapters import projected
from pipeline.embedding.embedder import Embedder
from pipeline.embedding.settings import EmbedSettings
from pipeline.samples.categories import CATEGORIES
from pipeline.samples.render import render_frames
from tests.benchmarks.retrieval_metrics import average_precisions, interval, nearest_is_right
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.batch import References, pad_reference
from training.release import load_release, shipped_model

# Scenes that no lesson of the pocket models has drawn.
FIRST_SEED = 900_000


def main(arguments: list[str] | None = None) -> dict:
    options = _parser().parse_args(arguments)
    known = shipped_model().categories
    first = list(CATEGORIES)[: options.first]
    taught = [name for name in first if name in known][: options.categories]
    unseen = [name for name in first if name not in known][: options.categories]
    vectors, labels = predicted([*taught, *unseen], options.clips)
    report: dict = {"model": shipped_model().model_id, "clips": len(labels)}
    rows = {"all": labels != "", "taught": np.isin(labels, taught), "zero_shot": np.isin(labels, unseen)}
    for name, part in rows.items():
        if part.any():
            report[name] = {"categories": len(np.unique(labels[part]))}
            report[name] |= {kind: _figures(x[part], labels[part]) for kind, x in vectors.items()}
            difference = _precision(vectors["projection"], labels, part)
            difference = difference - _precision(vectors["descriptor"], labels, part)
            report[name]["projection_over_descriptor"] = interval(difference)
    print(json.dumps(report))
    return report


def predicted(names: list[str], clips: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Vectors of rendered clips by kind, [n, dim] each, and their categories."""
    release = shipped_model()
    settings = BackboneSettings.model_validate(release.facts["backbone"])
    backbone = load_backbone(settings, ["vae", "transformer"])
    method = load_release(release, backbone)
    embedder = Embedder(EmbedSettings(model="pocket", pretrained="pocket"))
    times = np.linspace(0, 1, settings.num_frames)
    thetas, descriptors, labels = [], [], []
    for number, name in enumerate(names):
        for clip in range(clips):
            seed = FIRST_SEED + 1_000 * number + clip
            drawn = render_frames(name, seed, times, settings.height, settings.width)
            frames = np.stack([np.asarray(frame) for frame in drawn])
            latents, mask = pad_reference(backbone.encode_video(frames)[0].float(), backbone.latent_shape)
            with torch.no_grad():
                thetas.append(method.condition(References(("",), latents[None], mask[None]))[0])
            descriptors.append(np.asarray(embedder.embed_frames(frames)))
            labels.append(name)
    theta = torch.stack(thetas)
    flat = theta.flatten(1).numpy()
    return {
        "adapter": _centred(flat),
        "projection": _centred(np.stack([projected(each) for each in flat])),
        "residuals": _centred(residuals(method, theta)),
        "descriptor": np.stack(descriptors),
    }, np.array(labels)


def residuals(method, theta: torch.Tensor) -> np.ndarray:
    """Vectors whose inner products are those of the residuals B A of all linears, [n, n]."""
    down_pred, up_pred = method.adapters.split(theta)
    gram = torch.zeros(len(theta), len(theta), dtype=torch.float64)
    for index, layer in enumerate(method.adapters.layers.values()):
        down, up = layer.factors(down_pred[:, index], up_pred[:, index])
        gram += torch.einsum("irk,jsk,icr,jcs->ij", down.double(), down.double(), up.double(), up.double())
    values, basis = torch.linalg.eigh(gram)
    return (basis * values.clamp(min=0).sqrt()).detach().numpy()


def _centred(vectors: np.ndarray) -> np.ndarray:
    return vectors - vectors.mean(0)


def _precision(vectors: np.ndarray, labels: np.ndarray, part: np.ndarray) -> np.ndarray:
    return average_precisions(vectors[part], labels[part])


def _figures(vectors: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    found = average_precisions(vectors, labels)
    return {
        "mAP": round(float(np.nanmean(found)), 4),
        "mAP_interval": interval(found),
        "nearest": round(float(nearest_is_right(vectors, labels).mean()), 4),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=48, help="categories of the renderer that count")
    parser.add_argument("--categories", type=int, default=38, help="at most, taught and untaught each")
    parser.add_argument("--clips", type=int, default=8, help="of each category")
    return parser


if __name__ == "__main__":
    main()
