"""How well a condition denoises the very clips that it is to stand for: the plain diffusion loss on them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from training.backbones.base import DiT, Scene, Velocity
from training.errors import BadBatch


@dataclass(frozen=True)
class OwnClips:
    """Reference clips as targets of their own.

    Attributes:
        latents: [R, F, C, h, w], posterior means, scaled, zero-padded to the geometry.
        mask: bool [R, F, h, w], True where a clip is real.
        first_frames: [R, …], encoded and scaled as a target's is.
        texts: [R, T, D], embeddings of their captions, or of the empty one.
    """

    latents: Tensor
    mask: Tensor
    first_frames: Tensor
    texts: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    def whole(cls, latents: Tensor, first_frames: Tensor, texts: Tensor) -> Self:
        """Clips of which nothing is padding."""
        return cls(latents, torch.ones_like(latents[:, :, 0], dtype=torch.bool), first_frames, texts)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The same elsewhere; `dtype` changes floating tensors only."""
        return type(self)(
            *(each.to(device, dtype if each.is_floating_point() else None) for each in self._tensors())
        )

    def select(self, rows: Sequence[int]) -> Self:
        """Those at `rows`, in that order."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.latents.device)
        return type(self)(*(each[index] for each in self._tensors()))

    def require_for(self, dit: DiT) -> None:
        """Check that they fit one another and the backbone.

        Raises:
            BadBatch: they do not.
        """
        if self.latents.ndim != 5 or self.latents.shape[2] != dit.latent_channels:
            raise BadBatch(
                f"A reference's latents {tuple(self.latents.shape)} are no"
                f" [R, F, {dit.latent_channels}, h, w]: encode the reference with the backbone that is used."
            )
        count, frames, _, height, width = self.latents.shape
        for name, found, wanted in (
            ("mask", self.mask.shape, (count, frames, height, width)),
            ("first frames", self.first_frames.shape, tuple(dit.first_frame_of(self.latents).shape)),
            ("texts", self.texts.shape[:1], (count,)),
        ):
            if tuple(found) != wanted:
                raise BadBatch(
                    f"The references' {name} {tuple(found)} do not fit their latents"
                    f" {tuple(self.latents.shape)}: {wanted} is needed. Encode both at one geometry."
                )
        empty = (~self.mask.flatten(1).any(dim=1)).nonzero().flatten().tolist()
        if empty:
            raise BadBatch(f"Reference {empty[0]} is empty: its mask is False everywhere.")

    def _tensors(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]


def own_losses(
    velocity: Velocity,
    dit: DiT,
    clips: OwnClips,
    seeds: Tensor,
    timestep_shift: float,
    noise: Tensor | None = None,
) -> Tensor:
    """The unweighted diffusion loss of each clip as its own target, fp32 [R], with gradient.

    What is padding counts for nothing.

    Args:
        velocity: of `Method.under`.
        clips: see `OwnClips.require_for`.
        seeds: int64 [R] on the CPU, of noise and timestep.
        noise: what `randomness.noise_of` draws for the seeds, where somebody has drawn it before.
    """
    noisy, timesteps, target = dit.objective.corrupt(clips.latents, seeds, timestep_shift, noise)
    predicted = velocity(noisy, timesteps, Scene(clips.first_frames, clips.texts))
    # Where nothing is real the target is what was predicted, and the mean is taken over the rest.
    target = torch.where(clips.mask[:, :, None], target, predicted.detach().to(target.dtype))
    return dit.objective.losses(predicted, target, timesteps) / clips.mask.flatten(1).float().mean(dim=1)
