"""Small backbones and batches that the tests of this room build on."""

from pathlib import Path

import torch

from training.backbones import registry as backbones
from training.backbones.base import Backbone
from training.backbones.cogvideox.small import write_tiny_backbone
from training.backbones.geometry import SampleGeometry
from training.backbones.settings import BackboneSettings
from training.batch import Sample, TrainingBatch, collate
from training.methods import registry as methods
from training.methods.base import Method

GEOMETRY = SampleGeometry(num_frames=9, height=32, width=48)
TEXT_TOKENS = 16
LATENTS = (3, 16, 4, 6)
ADAPTERS = {"down_size": 12, "up_size": 8}
SMALL = methods.parse_settings(ADAPTERS | {"width": 32, "heads": 2, "layers": 2, "refinements": 2})


def load_backbone(folder: Path, parts: tuple[str, ...] = ("transformer",)) -> Backbone:
    """The random backbone in `folder` (written there if need be), fp32, at GEOMETRY."""
    write_tiny_backbone(folder, seed=1, geometry=GEOMETRY, max_text_tokens=TEXT_TOKENS)
    settings = BackboneSettings(
        model=str(folder),
        num_frames=GEOMETRY.num_frames,
        height=GEOMETRY.height,
        width=GEOMETRY.width,
        max_text_tokens=TEXT_TOKENS,
        dtype="float32",
    )
    return backbones.load_backbone(settings, parts)


def build_method(folder: Path, settings: methods.MethodSettings = SMALL, **options) -> Method:
    return methods.build_method(settings, load_backbone(folder).dit, **options)


def disturb(method: Method, seed: int = 5, size: float = 0.1) -> Method:
    """Random weights in the prediction head: adapters differ from the identity and from each other."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in method.hypernetwork.head.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return method


def random_sample(seed: int) -> Sample:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return Sample(
        target_latents=draw(*LATENTS),
        reference_latents=draw(*LATENTS),
        reference_mask=torch.ones(LATENTS[0], *LATENTS[2:], dtype=torch.bool),
        reference_first_frames=draw(1, *LATENTS[1:]),
        reference_texts=draw(1, TEXT_TOKENS, 32),
        first_frame_latents=draw(*LATENTS[1:]),
        text_embeddings=draw(TEXT_TOKENS, 32),
        sample_seed=seed,
        pair_id=f"target{seed}<-reference{seed}",
    )


def random_batch(*seeds: int) -> TrainingBatch:
    return collate([random_sample(seed) for seed in seeds])
