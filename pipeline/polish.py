"""Polish at work: an adapter fitted to the videos that it was asked for."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.adapters import Adapter, Reference
from training.backbones.base import Backbone
from training.batch import pad_reference
from training.methods.base import Method
from training.methods.own_loss import OwnClips
from training.polish import polish
from training.progress import Progress
from training.randomness import stream
from training.run.activations import checkpoint_blocks
from training.settings import PolishSettings

# What augmentation may do: the least share of each side that a crop keeps, the strongest gamma.
CROP, GAMMA = 0.85, 1.25


def polish_adapter(
    backbone: Backbone,
    method: Method,
    adapter: Adapter,
    references: Sequence[Reference],
    settings: PolishSettings,
    seed: int = 0,
    progress: Progress | None = None,
) -> Adapter:
    """The adapter after `settings.steps` of polish on all of these references; 0: as it is.

    Its facts say under "polish" how it was polished, and its loss on the references before and after: means
    over the held-out draws, or else over the draws of the first and the last step.

    Raises:
        BadBatch, BadMethodSettings, CannotPolish: see `training.polish.polish`.
    """
    if not settings.steps:
        return adapter
    clips = own_clips(backbone, references, settings.augment, seed)
    checkpoint_blocks(method.dit, settings.activation_checkpointing)
    try:
        made = polish(
            method,
            adapter.condition,
            clips,
            settings,
            seed=seed,
            owners=[0] * len(clips),
            progress=progress,
        )
    finally:
        checkpoint_blocks(method.dit, "none")
    losses = made.held_out if len(made.held_out) else made.losses
    told = settings.model_dump(mode="json") | {
        "seed": seed,
        "references": [each.told for each in references],
        "taken_after": made.steps[0],
        "loss_before": round(losses[0].item(), 6),
        "loss_after": round((losses.min() if len(made.held_out) else losses[-1]).item(), 6),
    }
    return Adapter(made.condition, method.export(made.condition), adapter.facts).told(polish=told)


@torch.no_grad()
def own_clips(
    backbone: Backbone, references: Sequence[Reference], augment: int = 0, seed: int = 0
) -> OwnClips:
    """References, and `augment` changed copies of each, as what a backbone is polished on."""
    latents, masks, firsts, captions = [], [], [], []
    for reference in references:
        for number in range(1 + augment):
            frames = changed(reference.frames, number, seed) if number else reference.frames
            mean, _ = backbone.encode_video(frames)
            first = backbone.encode_first_frame(frames[0])
            whole, mask = pad_reference(mean.float(), backbone.latent_shape)
            latents.append(whole)
            masks.append(mask)
            # A first frame fills the picture, whatever the reference's length.
            firsts.append(first[0].float())
            captions.append(reference.caption)
    texts = backbone.encode_text(captions)
    return OwnClips(*(torch.stack(each).to(texts.device) for each in (latents, masks, firsts)), texts)


def changed(frames: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """A copy of a clip uint8 [n, H, W, 3], cropped and relit, all frames alike.

    A pure function of the two numbers. Not mirrored, turned or recoloured: an effect is often just that.
    """
    draw = stream(seed, f"augmented copy {number}")
    height, width = frames.shape[1:3]
    share = draw.uniform(CROP, 1)
    tall, wide = round(share * height), round(share * width)
    top, left = (int(draw.integers(rest + 1)) for rest in (height - tall, width - wide))
    window = np.ascontiguousarray(frames[:, top : top + tall, left : left + wide])
    cropped = torch.from_numpy(window).permute(0, 3, 1, 2).float()
    resized = F.interpolate(cropped, (height, width), mode="bicubic", antialias=True).clamp(0, 255)
    relit = 255 * (resized / 255) ** float(GAMMA ** draw.uniform(-1, 1))
    return relit.round().byte().permute(0, 2, 3, 1).numpy()
