"""The pocket hypernetwork: Video2LoRA on the pocket backbone, taught with procedural pairs.

It learns from the categories that `pipeline.samples.splits` calls seen; the others are what it can be asked
about that it never saw.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.pocket.backbone import Steps, known_categories, working_folder
from pipeline.pocket.families import FAMILIES, POCKET_GEOMETRY, POCKET_TEXT_TOKENS, PocketBackbone
from pipeline.pocket.pairs import TRAIN_FROM, Pairs
from pipeline.pocket.pairs import References as Kind
from pipeline.samples.splits import unseen_of
from training.backbones.base import Scene
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.batch import TrainingBatch
from training.methods.base import Condition, Method
from training.methods.registry import MethodSettings, build_method, parse_settings
from training.pretrain.fit import FitSettings, fit
from training.pretrain.precision import Precision, computing
from training.progress import Progress
from training.randomness import stream
from training.release import publish_tensors

# The paper's a = 100 and b = 50 belong to linears of width 3072, here they are 192 wide. Tokens of four
# latent frames that also say what changed, and that see each other, tell effects apart after fewer clips, and
# there are few of each.
POCKET_METHOD = parse_settings(
    {
        "kind": "video2lora",
        "down_size": 48,
        "up_size": 24,
        "width": 96,
        "layers": 2,
        "refinements": 4,
        "patch": (4, 4, 4),
        "motion": True,
        "video_layers": 2,
        "timestep_shift": 8.0,
    }
)


@dataclass(frozen=True)
class Lessons:
    """How much training, on how many clips of each of the categories (of those, only the seen ones).

    Attributes:
        category_steps: of one adapter per category; see `teach`.
        regression_steps: of the hypernetwork towards those.
        steps: of everything, through the hypernetwork, on velocities.
        batch: pairs of a step; `references_batch` references of a regression step.
        teacher: whose velocities the last lesson wants: the backbone's that is told the effect by "name", or
            those of the target "clips", the diffusion loss that the paper trains with.
        timestep_shift: which effect it is matters to the loss only where noise hides it, in the last tenth of
            the timesteps.
        references: what the references have to do with their targets.
        categories: of the clips; None: all that the backbone knows.
        precision: of products and convolutions, also in encoding; another one needs another working folder.
    """

    category_steps: int = 1_500
    regression_steps: int = 5_000
    steps: int = 1_500
    clips: int = 64
    batch: int = 64
    references_batch: int = 256
    seed: int = 0
    teacher: Literal["name", "clips"] = "name"
    timestep_shift: float = 8.0
    references: Kind = "same"
    categories: tuple[str, ...] | None = None
    precision: Precision = "bfloat16"


def pocket_settings(model: str = "pocket", family: str = "cogvideox") -> BackboneSettings:
    """A backbone of the pocket geometry, in fp32."""
    geometry = POCKET_GEOMETRY
    return BackboneSettings.model_validate(
        {
            "family": family,
            "model": model,
            "num_frames": geometry.num_frames,
            "height": geometry.height,
            "width": geometry.width,
            "max_text_tokens": POCKET_TEXT_TOKENS,
            "dtype": "float32",
        }
    )


def ship_hypernetwork(
    backbone_folder: Path, work: Path, lessons: Lessons, step: Steps, device: torch.device | str = "cpu"
) -> dict:
    """Train a hypernetwork for the backbone in a folder and put it there as `hypernetwork/`.

    Args:
        backbone_folder: what `train_pocket` wrote.
        work: encoded clips and the state of training; a later call with the same folder goes on from them.
        lessons: how much.
        step: opens the progress of a named step.
        device: of the training.

    Returns:
        what `hypernetwork/model.json` says too.
    """
    settings = pocket_settings(str(backbone_folder))
    backbone = load_backbone(settings, device=device)
    known = known_categories(backbone_folder)
    work, names = working_folder(work, known), lessons.categories or known
    with step("Pairs") as progress:
        pairs = Pairs.load(
            *(backbone, work, TRAIN_FROM, lessons.clips, progress, names, lessons.precision),
            unseen=unseen_of(known),
        )
    with step("Hypernetwork") as progress:
        taught = teach(backbone, pairs, POCKET_METHOD, lessons, work, progress)
    facts = {
        "method": POCKET_METHOD.model_dump(mode="json"),
        "backbone": settings.model_copy(update={"model": "pocket"}).model_dump(mode="json"),
        "transformer": backbone.transformer_id,
        "encoder_id": backbone.encoder_id,
        "steps": lessons.steps,
        "lessons": asdict(lessons) | {"categories": len(names)},
        "categories": pairs.seen,
        "seconds": round(taught.seconds, 1),
        "device": torch.device(device).type,
        "threads": torch.get_num_threads(),
    }
    release = publish_tensors(taught.method.trainable_state(), work / "models", torch.bfloat16, facts)
    final = backbone_folder / "hypernetwork"
    shutil.rmtree(final, ignore_errors=True)
    shutil.copytree(release.path, final)
    return release.facts | {"bytes": release.bytes}


@dataclass(frozen=True)
class Taught:
    """What came of the lessons.

    Attributes:
        method: with its averaged weights, for inference.
        adapters: θ [categories, L, r·(a+b)] of the first lesson; they belong to the auxiliary matrices as it
            left them, so to a method that had no further one.
        places: of each seen category in them.
        seconds: that the steps took.
    """

    method: Method
    adapters: Tensor
    places: dict[str, int]
    seconds: float


def teach(
    backbone: PocketBackbone,
    pairs: Pairs,
    settings: MethodSettings,
    lessons: Lessons,
    work: Path,
    progress: Progress | None = None,
) -> Taught:
    """Train Video2LoRA on pairs of the seen categories, on a copy of the transformer.

    Three lessons, because few clips and few steps have to do: (1) the auxiliary matrices and one adapter per
    category, which under a caption that does not name the effect does what the frozen backbone does when it
    is named; (2) the hypernetwork learns to predict a reference's category's adapter, without the transformer
    and so with many references a step (the weight-space loss of HyperDreamBooth, 2307.06949); (3) all of it
    by velocities, through the transformer, as Video2LoRA trains: those of the same teacher, or of the clips.
    """
    settings = settings.model_copy(update={"timestep_shift": lessons.timestep_shift})
    method = build_method(settings, FAMILIES[backbone.settings.family].dit(backbone), seed=lessons.seed)
    # A lesson's state is named by what decides it, so that trials which differ later share what came before.
    decides: list[object] = [
        backbone.transformer_id,
        *(lessons.category_steps, lessons.clips, lessons.batch, lessons.seed, lessons.timestep_shift),
        *(lessons.references, pairs.seen, lessons.precision),
        settings.adapter(),
    ]

    def state(number: int, *further: object) -> Path:
        decides.extend(further)
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
        return work / "lessons" / f"{number}-{digest}.safetensors"

    def batch_of(step: int) -> TrainingBatch:
        return pairs.training(step, lessons.batch, lessons.seed, lessons.references)

    adapters = CategoryAdapters(method, pairs, lessons)
    seconds = 0.0
    if lessons.category_steps:
        method.hypernetwork.requires_grad_(False)
        seconds += fit(
            adapters,
            lambda step: adapters.loss(batch_of(step)),
            FitSettings(lessons.category_steps, lr=1e-2, warmup=20, decay=0.3, ema_decay=0.98),
            state(1),
            progress,
        )
        method.hypernetwork.requires_grad_(True)
    if lessons.regression_steps:
        seconds += fit(
            method.hypernetwork,
            adapters.distance,
            FitSettings(lessons.regression_steps, lr=1e-3, warmup=50, decay=0.4, ema_decay=0.98),
            state(2, lessons.regression_steps, lessons.references_batch, settings.model_dump(mode="json")),
            progress,
        )

    if lessons.steps:
        seconds += fit(
            method,
            by_velocities(method, pairs, lessons, lessons.category_steps),
            FitSettings(lessons.steps, lr=5e-4, warmup=20, decay=0.4, ema_decay=0.98),
            state(3, lessons.steps, lessons.teacher, settings.model_dump(mode="json")),
            progress,
        )
    return Taught(method.eval(), adapters.theta.detach(), adapters.places, seconds)


def by_velocities(method: Method, pairs: Pairs, lessons: Lessons, first: int = 0) -> Callable[[int], Tensor]:
    """What a step of the last lesson minimises, for a method of any kind; its step 0 takes the pairs of step
    `first`."""

    def loss(step: int) -> Tensor:
        batch = pairs.training(first + step, lessons.batch, lessons.seed, lessons.references)
        with computing(pairs.device, lessons.precision):
            if lessons.teacher == "clips":
                return method(batch).loss
            condition = method.condition(batch.references)
        return distilled(method, batch, condition, pairs, lessons)

    return loss


def distilled(
    method: Method, batch: TrainingBatch, condition: Condition, pairs: Pairs, lessons: Lessons
) -> Tensor:
    """How far the velocities under a condition are from those of the frozen backbone that is told the
    targets' effects: the mean squared difference."""
    targets = [int(pair.split("<-")[0]) for pair in batch.pair_ids]
    noisy, timesteps, _ = method.dit.objective.corrupt(
        batch.target_latents, batch.sample_seeds, lessons.timestep_shift, batch.noise
    )

    def velocity(told: Condition | None, text: Tensor) -> Tensor:
        with method.under(told) as predict:
            return predict(noisy, timesteps, Scene(batch.first_frame_latents, text))

    with computing(noisy.device, lessons.precision):
        with torch.no_grad():
            wanted = velocity(None, pairs.named[targets])
        found = velocity(condition, batch.text_embeddings)
    return (found.float() - wanted.float()).square().mean()


class CategoryAdapters(nn.Module):
    """One adapter θ per seen category, beside the method whose auxiliary matrices it shares."""

    def __init__(self, method: Method, pairs: Pairs, lessons: Lessons) -> None:
        super().__init__()
        self.method, self.pairs, self.lessons = method, pairs, lessons
        network = method.hypernetwork
        start = torch.zeros(network.layers, network.down_values + network.up_values)
        # As the hypernetwork begins: B_pred zero, A_pred a constant of norm 1.
        constant = torch.randn(network.down_values, generator=torch.Generator().manual_seed(0))
        start[:, : network.down_values] = constant / constant.norm()
        self.places = {name: place for place, name in enumerate(pairs.seen)}
        count = 1 if lessons.references == "blank" else len(pairs.seen)
        self.theta = nn.Parameter(start.expand(count, -1, -1).clone().to(network.embed.weight.device))

    def loss(self, batch: TrainingBatch) -> Tensor:
        """See `distilled`, under the adapters of the references' categories."""
        theta = self.theta[self._places(batch.references.categories)]
        return distilled(self.method, batch, theta, self.pairs, self.lessons)

    def distance(self, step: int) -> Tensor:
        """How much of the variance between categories the predictions leave unexplained: about 1 where they
        do not tell them apart."""
        pairs, lessons = self.pairs, self.lessons
        draw = stream(step, f"references {lessons.seed}")
        names = draw.choice(pairs.seen, size=lessons.references_batch).tolist()
        numbers = draw.integers(pairs.per_category, size=len(names)).tolist()
        clips = [pairs.clip(name, number) for name, number in zip(names, numbers, strict=True)]
        theta = self.theta.detach()
        references = replace(
            pairs.references(clips, lessons.references), adapters=theta[self._places(names)].flatten(1)
        )
        with computing(theta.device, lessons.precision):
            predicted = self.method.condition(references)
        # Without a reference there is one category and nothing to tell apart.
        least = 1e-3 * theta.square().mean()
        spread = torch.maximum((theta - theta.mean(dim=0)).square().mean(), least)
        return self.method.distance(predicted, references, spread)

    def _places(self, names: tuple[str, ...] | list[str]) -> list[int]:
        if self.lessons.references == "blank":
            return [0] * len(names)
        return [self.places[name] for name in names]
