"""What the learning benchmark measures of a method: losses of held-out pairs, clips generated under it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.pocket.pairs import Pairs
from pipeline.samples.categories import CATEGORIES
from pipeline.samples.scene import make_scene
from pipeline.samples.splits import DEVELOPMENT, TEST, Split, kinds_of, unseen_of
from training.backbones.base import Backbone, Scene
from training.batch import References, TrainingBatch
from training.evaluation.transfer_gap import PairLosses, pair_losses
from training.generate import Guidance, denoise
from training.methods.base import Condition, Method
from training.polish import polish
from training.pretrain.precision import computing
from training.settings import PolishSettings

SPLITS: dict[str, Split] = {"development": DEVELOPMENT, "test": TEST}
Row = tuple[int, int, int]  # target, reference of its category, reference of another: clips of a set


def groups_of(split: str, known: Sequence[str], seen: int | None = None) -> dict[str, tuple[str, ...]]:
    """The categories of a backbone that are asked about: those that were seen (so many of them, spread over
    all), and each kind of unseen ones of a split."""
    hidden = unseen_of(known)
    shown = tuple(name for name in known if name not in hidden)
    step = 1 if seen is None else max(1, len(shown) // seen)
    return {"seen": shown[::step], **kinds_of(SPLITS[split], known)}


def chosen_rows(held: Pairs, names: Sequence[str], seed: int, each: int) -> list[Row]:
    """`each` rows of every category; other ones with another seed."""
    numbers = {(seed * each + place) % held.per_category for place in range(each)}
    return [row for row in held.held_out(names, seed) if row[0] // len(held.categories) in numbers]


@dataclass(frozen=True)
class Way:
    """Where adapters come from: predicted, then polished for some steps, or polished from another start."""

    start: str = "predicted"  # or "mean", "nothing"
    steps: int = 0

    def __str__(self) -> str:
        if not self.steps:
            return self.start
        return f"polished {self.steps}" + ("" if self.start == "predicted" else f", from {self.start}")


@torch.no_grad()
def starts(method: Method, pairs: Pairs, rows: Sequence[Row], start: str, training: Pairs) -> Tensor:
    """Adapters [n, …] of the rows' references before any polish.

    "mean": of what is predicted for seen clips of the training set; "nothing": the same with B_pred = 0.
    """
    if start == "predicted":
        return _predicted(method, pairs, [row[1] for row in rows])
    clips = [training.clip(name, 0) for name in training.seen]
    mean = _predicted(method, training, clips).mean(dim=0, keepdim=True)
    if start == "nothing":
        mean[..., method.settings.rank * method.settings.down_size :] = 0
    return mean.expand(len(rows), -1, -1)


def _predicted(method: Method, pairs: Pairs, clips: Sequence[int]) -> Tensor:
    with computing(pairs.device, "bfloat16"):
        parts = [clips[at : at + 64] for at in range(0, len(clips), 64)]
        return torch.cat([method.condition(pairs.references(part)).float() for part in parts])


def adapters_of(
    method: Method, pairs: Pairs, rows: Sequence[Row], way: Way, training: Pairs, settings: PolishSettings
) -> Tensor:
    """The adapters θ [n, …] of the rows' references, made that way."""
    theta = starts(method, pairs, rows, way.start, training)
    if not way.steps:
        return theta
    found, settings = [], settings.model_copy(update={"steps": way.steps})
    for at in range(0, len(rows), 64):
        clips = [row[1] for row in rows[at : at + 64]]
        own = pairs.own_clips(clips)
        with computing(pairs.device, "bfloat16"):
            part = theta[at : at + len(clips)]
            found.append(polish(method, part, own, settings, seed=at).condition)
    return torch.cat(found)


@torch.no_grad()
def gaps(
    method: Method,
    pairs: Pairs,
    rows: Sequence[Row],
    seed: int,
    draws: int = 2,
    made: tuple[Tensor, Tensor] | None = None,
) -> PairLosses:
    """Losses of the rows' targets under the adapter of the right category, of another, and of none.

    `made`: adapters [n, …] of the rows' references, right ones and others; None: as they are predicted.
    """
    condition = None
    if made is not None:
        under: dict[str, Tensor] = {}
        for (target, right, wrong), same, other in zip(rows, *made, strict=True):
            under |= {f"{target}<-{right}": same, f"{target}<-{wrong}": other}

        def condition(batch: TrainingBatch) -> Tensor:
            return torch.stack([under[name] for name in batch.pair_ids])

    batches = []
    for at in range(0, len(rows), 32):
        targets, right, wrong = (list(column) for column in zip(*rows[at : at + 32], strict=True))
        batches.append((pairs.batch(targets, right, seed + at), pairs.batch(targets, wrong, seed + at)))
    with computing(pairs.device, "bfloat16"):
        return pair_losses(method, batches, draws, condition=condition)


@torch.no_grad()
def generated(
    backbone: Backbone,
    method: Method,
    pairs: Pairs,
    rows: Sequence[Row],
    condition: Condition | None,
    steps: int,
    guidance: float = 1.0,
    named: bool = False,
) -> list[Tensor]:
    """Clips uint8 [49, H, W, 3] that begin as each row's target does, under a condition of n rows or none.

    `named`: the backbone is told the effect. `guidance` leads away from what it does with no adapter and no
    name.
    """
    clips: list[Tensor] = []
    size = 64 if pairs.device.type == "cuda" else 8
    for at in range(0, len(rows), size):
        targets, references, _ = (list(column) for column in zip(*rows[at : at + size], strict=True))
        batch = pairs.batch(targets, references, seed=at)
        plain = batch.text_embeddings
        text = pairs.named[targets] if named else plain
        noise = torch.randn(batch.target_latents.shape, generator=torch.Generator().manual_seed(at))
        own = None if condition is None else rows_of(condition, range(at, at + len(targets)))
        led = Guidance(
            prompt=guidance if named else 1.0,
            adapter=guidance,
            without_adapter=None if own is None else (lambda: method.under(None)),
        )
        with method.under(own) as velocity, computing(pairs.device, "bfloat16"):
            scene = Scene(batch.first_frame_latents, text)
            negative = plain if named and guidance > 1 else None
            sampler = backbone.sampler()
            latents = denoise(velocity, sampler, noise.to(pairs.device), scene, steps, led, negative)
        clips += decoded(backbone, latents)
    return clips


def rows_of(condition: Condition, rows: Sequence[int]) -> Condition:
    """Some rows of a condition: of adapters θ [n, …], or of references."""
    return condition.select(rows) if isinstance(condition, References) else condition[list(rows)]


def decoded(backbone: Backbone, latents: Tensor) -> list[Tensor]:
    """Latents [n, F, C, h, w] → clips uint8 [49, H, W, 3] on the CPU."""
    with computing(latents.device, "bfloat16"):
        return [backbone.decode(each.float()) for each in latents]


def kin(wanted: str, found: str) -> bool:
    """Whether two categories are of one family, or share a part of one."""
    kinds = [
        {CATEGORIES[part].family for part in CATEGORIES[name].parts if part in CATEGORIES}
        for name in (wanted, found)
    ]
    return bool(kinds[0] & kinds[1])


def subjects(pairs: Pairs, row: Row) -> tuple[str, str]:
    """The subjects of a row's target and of its reference."""
    return tuple(make_scene(pairs.numbers[clip]).subject for clip in row[:2])
