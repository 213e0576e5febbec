"""The training batch: its only definition, and the protocol of what delivers it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from training.backbones.base import Scene
from training.errors import BadBatch
from training.randomness import noise_of


@dataclass(frozen=True)
class Sample:
    """One target and its references, R of them; floating tensors of one dtype.

    Shapes: target_latents [F, C, h, w]; first_frame_latents […], as `Backbone.encode_first_frame` makes it
    (CogVideoX: [C, h, w]); text_embeddings [T, D]; reference_latents [R·F, C, h, w], one after another;
    reference_mask bool [R·F, h, w], True where a reference is real and False where it is zero padding;
    reference_first_frames [R, …]; reference_texts [R, T, D]; reference_adapter [n], what a teacher found.
    Those of references are None where nobody needs them. Scales: target and reference are multiplied by the
    VAE's scaling factor; first frames are multiplied or divided by it as the VAE's `invert_scale_latents`
    says.
    """

    target_latents: Tensor
    first_frame_latents: Tensor
    text_embeddings: Tensor
    sample_seed: int
    pair_id: str
    reference_category: str = ""
    reference_latents: Tensor | None = None
    reference_mask: Tensor | None = None
    reference_first_frames: Tensor | None = None
    reference_texts: Tensor | None = None
    reference_adapter: Tensor | None = None


@dataclass(frozen=True)
class References:
    """What is known of a batch's references: their categories, and the rest where the method needs it.

    Attributes:
        categories: B category ids, "" where there is none.
        latents: [B, R·F, C, h, w], posterior means, scaled, zero-padded to the geometry; a sample's R
            references one after another.
        mask: bool [B, R·F, h, w], True where a reference is real.
        first_frames: [B, R, …], of each reference by itself.
        texts: embeddings [B, R, T, D] of their captions.
        adapters: θ [B, n] that a teacher found for them, where a method learns to predict those.
        padded: whether the mask may say False anywhere; what it costs to look is saved where it does not.
    """

    categories: tuple[str, ...]
    latents: Tensor | None = None
    mask: Tensor | None = None
    first_frames: Tensor | None = None
    texts: Tensor | None = None
    adapters: Tensor | None = None
    padded: bool = True

    def __len__(self) -> int:
        return len(self.categories)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same elsewhere; `dtype` changes floating tensors."""
        return self._each(lambda t: _moved(t, device, dtype if t.is_floating_point() else None))

    def pinned(self) -> Self:
        """The same in memory that a GPU copies from without waiting."""
        return self._each(Tensor.pin_memory)

    def select(self, rows: Sequence[int]) -> Self:
        """Those at `rows`, in that order."""
        index = torch.as_tensor(list(rows), dtype=torch.long)
        chosen = self._each(lambda tensor: tensor[index.to(tensor.device)])
        return replace(chosen, categories=tuple(self.categories[row] for row in rows))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{n: change(t) for n, t in tensors.items() if isinstance(t, Tensor)})


@dataclass(frozen=True)
class TrainingBatch:
    """A batch of pairs.

    Attributes:
        target_latents: [B, F, C, h, w], posterior samples, already scaled for the DiT.
        references: of the targets, one each.
        first_frame_latents: [B, …], as the backbone encodes a first frame (CogVideoX: [B, C, h, w]).
        text_embeddings: [B, T, D], caption dropout already applied (the empty caption's embedding).
        sample_seeds: int64 [B] on the CPU; everything random about a sample (posterior draw, noise, timestep,
            caption dropout) is a pure function of its seed.
        pair_ids: B strings "target<-reference".
        noise: fp32 [B, F, C, h, w], what `randomness.noise_of` draws for the seeds; None: not drawn yet.
        kept: what of the videos is preserved (`Scene.kept`); None: the first frame.
    """

    target_latents: Tensor
    references: References
    first_frame_latents: Tensor
    text_embeddings: Tensor
    sample_seeds: Tensor
    pair_ids: list[str]
    noise: Tensor | None = None
    kept: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pair_ids)

    @property
    def scene(self) -> Scene:
        """What the backbone is told of the targets."""
        return Scene(self.first_frame_latents, self.text_embeddings, kept=self.kept)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same batch elsewhere; `dtype` changes floating tensors but the noise, seeds stay on the CPU."""
        moved: dict[str, object] = {"references": self.references.to(device, dtype)}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor) and field.name != "sample_seeds":
                cast = value.is_floating_point() and field.name != "noise"
                moved[field.name] = _moved(value, device, dtype if cast else None)
        return replace(self, **moved)

    def ready(self) -> Self:
        """The same with its noise drawn, in pinned memory where there is a GPU: what need not be done in a
        step, by the thread that fetches."""
        drawn = replace(self, noise=noise_of(self.sample_seeds, self.target_latents.shape[1:]))
        if not torch.cuda.is_available():
            return drawn
        pinned = {
            field.name: value.pin_memory()
            for field in fields(drawn)
            if isinstance(value := getattr(drawn, field.name), Tensor) and field.name != "sample_seeds"
        }
        return replace(drawn, **pinned, references=self.references.pinned())

    def select(self, rows: Sequence[int]) -> Self:
        """The samples at `rows`, in that order."""
        index = torch.as_tensor(list(rows), dtype=torch.long)
        chosen = {
            field.name: value[index.to(value.device)]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(
            self,
            **chosen,
            references=self.references.select(rows),
            pair_ids=[self.pair_ids[row] for row in rows],
        )


class BatchStream(Protocol):
    """What delivers batches to a worker; made in `pipeline/`, picklable.

    The loop says which global sample numbers a rank takes and in which order; the stream knows what sample
    number n is (target, reference, seed) and fetches it.
    """

    def __call__(self, plan: Iterable[list[int]]) -> Iterator[TrainingBatch]:
        """One batch per entry of `plan`, in its order, with the samples in the order of the numbers.

        The iterator raises NoBatch when a person has to put something right: the run then stops at once with
        that sentence, where after any other error it is tried again.
        """


def _moved(value: Tensor, device: torch.device | str | None, dtype: torch.dtype | None = None) -> Tensor:
    """Elsewhere; out of pinned memory nobody waits for the copy."""
    return value.to(device, dtype, non_blocking=value.device.type == "cpu" and value.is_pinned())


def pad_reference(latents: Tensor, shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Zero-pad a reference's latents [f, C, h', w'] to `shape` [F, C, h, w] at the end of each axis.

    Returns:
        the padded latents [F, C, h, w] and the mask, bool [F, h, w], True where they are real.

    Raises:
        BadBatch: the reference is larger than the shape, or has other channels.
    """
    frames, channels, height, width = latents.shape
    if channels != shape[1] or frames > shape[0] or height > shape[2] or width > shape[3]:
        raise BadBatch(
            f"A reference's latents {tuple(latents.shape)} do not fit {tuple(shape)}: encode the reference"
            " with the backbone that is trained."
        )
    padded = latents.new_zeros(shape)
    padded[:frames, :, :height, :width] = latents
    mask = torch.zeros(shape[0], shape[2], shape[3], dtype=torch.bool, device=latents.device)
    mask[:frames, :height, :width] = True
    return padded, mask


def collate(samples: Sequence[Sample]) -> TrainingBatch:
    """Stack samples into a batch.

    Raises:
        BadBatch: no samples, tensors of different shapes, a reference without one real cell, or references
            of which some have latents and some have none.
    """
    if not samples:
        raise BadBatch("A batch needs at least one sample.")
    first = samples[0]
    latent = tuple(first.target_latents.shape)
    if len(latent) != 4:
        raise BadBatch(f"Sample {first.pair_id!r} has target latents {latent}; they must be [F, C, h, w].")
    of_target = {
        "target_latents": latent,
        "first_frame_latents": tuple(first.first_frame_latents.shape),
        "text_embeddings": tuple(first.text_embeddings.shape),
    }
    given = {name: field for name, field in _OF_REFERENCE.items() if getattr(first, name) is not None}
    wanted = of_target | _shapes_of_references(first, latent)
    for sample in samples:
        for name in _OF_REFERENCE:
            if (getattr(sample, name) is not None) != (name in given):
                raise BadBatch(f"Sample {sample.pair_id!r} differs from the first in whether it has {name}.")
        for name in (*of_target, *given):
            found, shape = tuple(getattr(sample, name).shape), wanted[name]
            if found != shape:
                raise BadBatch(f"Sample {sample.pair_id!r} has {name} {found}; this batch needs {shape}.")
        if sample.reference_mask is not None and not sample.reference_mask.any():
            raise BadBatch(f"Sample {sample.pair_id!r} has an empty reference: its mask is False everywhere.")

    def stacked(name: str) -> Tensor:
        return torch.stack([getattr(sample, name) for sample in samples])

    return TrainingBatch(
        **{name: stacked(name) for name in of_target},
        references=References(
            tuple(sample.reference_category for sample in samples),
            **{field: stacked(name) for name, field in given.items()},
            padded=not all(s.reference_mask is None or bool(s.reference_mask.all()) for s in samples),
        ),
        sample_seeds=torch.tensor([sample.sample_seed for sample in samples], dtype=torch.int64),
        pair_ids=[sample.pair_id for sample in samples],
    )


# What a sample says of its references, and what a batch calls it.
_OF_REFERENCE = {
    "reference_latents": "latents",
    "reference_mask": "mask",
    "reference_first_frames": "first_frames",
    "reference_texts": "texts",
    "reference_adapter": "adapters",
}


def _shapes_of_references(sample: Sample, latent: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes that a sample's references have beside a target of that shape: as many as it has, one at
    least."""
    frames, (channels, *size) = latent[0], latent[1:]
    count = 1 if sample.reference_latents is None else max(1, len(sample.reference_latents) // frames)
    adapter = sample.reference_adapter
    return {
        "reference_latents": (count * frames, channels, *size),
        "reference_mask": (count * frames, *size),
        "reference_first_frames": (count, *sample.first_frame_latents.shape),
        "reference_texts": (count, *sample.text_embeddings.shape),
        "reference_adapter": () if adapter is None else tuple(adapter.shape),
    }
