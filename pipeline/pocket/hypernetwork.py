"""The pocket hypernetwork: Video2LoRA on the pocket backbone, taught with procedural pairs.

It learns from 38 of the 48 effects; the ten others are what it can be asked about that it never saw.
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.pocket.backbone import POCKET_GEOMETRY, POCKET_TEXT_TOKENS, Steps
from pipeline.pocket.pairs import ALL, NAMES, SEEN, TRAIN_FROM, Pairs
from pipeline.pocket.pairs import References as Kind
from training.backbones.base import Scene
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.settings import BackboneSettings
from training.batch import References, TrainingBatch
from training.methods.base import Method
from training.methods.registry import MethodSettings, build_method, parse_settings
from training.pretrain.fit import FitSettings, fit
from training.pretrain.precision import Precision, computing
from training.pretrain.processor import PlainAttention
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
ADAPTERS = {"down_size", "up_size", "rank", "scale", "targets", "share_qkv_down"}


@dataclass(frozen=True)
class Lessons:
    """How much training, on how many clips of each of the effects (of those, only the seen ones).

    Attributes:
        category_steps: of one adapter per category; see `teach`.
        regression_steps: of the hypernetwork towards those.
        steps: of everything, through the hypernetwork, on the diffusion loss.
        batch: pairs of a step; `references_batch` references of a regression step.
        timestep_shift: which effect it is matters to the loss only where noise hides it, in the last tenth of
            the timesteps.
        references: what the references have to do with their targets.
        precision: of products and convolutions, also in encoding; another one needs another working folder.
    """

    category_steps: int = 600
    regression_steps: int = 1_500
    steps: int = 300
    clips: int = 72
    batch: int = 8
    references_batch: int = 32
    seed: int = 0
    timestep_shift: float = 8.0
    references: Kind = "same"
    effects: tuple[int, ...] = ALL
    precision: Precision = "bfloat16"


def pocket_settings(model: str = "pocket") -> BackboneSettings:
    """A backbone of the pocket geometry, in fp32."""
    geometry = POCKET_GEOMETRY
    return BackboneSettings(
        model=model,
        num_frames=geometry.num_frames,
        height=geometry.height,
        width=geometry.width,
        max_text_tokens=POCKET_TEXT_TOKENS,
        dtype="float32",
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
    backbone = CogVideoXBackbone.load(settings, device=device)
    with step("Pairs") as progress:
        pairs = Pairs.load(
            backbone, work, TRAIN_FROM, lessons.clips, progress, lessons.effects, lessons.precision
        )
    with step("Hypernetwork") as progress:
        method, seconds = teach(backbone, pairs, POCKET_METHOD, lessons, work, progress)
    facts = {
        "method": POCKET_METHOD.model_dump(mode="json"),
        "backbone": settings.model_copy(update={"model": "pocket"}).model_dump(mode="json"),
        "transformer": backbone.transformer_id,
        "encoder_id": backbone.encoder_id,
        "steps": lessons.steps,
        "lessons": asdict(lessons),
        "categories": [NAMES[effect] for effect in lessons.effects if effect in SEEN],
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
    }
    release = publish_tensors(method.trainable_state(), work / "models", torch.bfloat16, facts)
    final = backbone_folder / "hypernetwork"
    shutil.rmtree(final, ignore_errors=True)
    shutil.copytree(release.path, final)
    return release.facts | {"bytes": release.bytes}


def teach(
    backbone: CogVideoXBackbone,
    pairs: Pairs,
    settings: MethodSettings,
    lessons: Lessons,
    work: Path,
    progress: Progress | None = None,
) -> tuple[Method, float]:
    """Train Video2LoRA on pairs of the seen effects, on a copy of the transformer.

    Three lessons, because few clips and few steps have to do: (1) the auxiliary matrices and one adapter per
    category, which under a caption that does not name the effect does what the frozen backbone does when it
    is named; (2) the hypernetwork learns to predict a reference's category's adapter, without the transformer
    and so with many references a step (the weight-space loss of HyperDreamBooth, 2307.06949); (3) all of it
    by the diffusion loss alone, as Video2LoRA trains.

    Returns:
        the method with its averaged weights, for inference, and the seconds that the steps took.
    """
    transformer = copy.deepcopy(backbone.transformer)
    transformer.set_attn_processor(PlainAttention())
    settings = settings.model_copy(update={"timestep_shift": lessons.timestep_shift})
    method = build_method(settings, CogVideoXDiT(transformer, backbone.scheduler_config), seed=lessons.seed)
    device = backbone.transformer.device
    # A lesson's state is named by what decides it, so that trials which differ later share what came before.
    decides: list[object] = [
        backbone.transformer_id,
        *(lessons.category_steps, lessons.clips, lessons.batch, lessons.seed, lessons.timestep_shift),
        *(lessons.references, lessons.effects, lessons.precision),
        settings.model_dump(mode="json", include=ADAPTERS),
    ]

    def state(number: int, *further: object) -> Path:
        decides.extend(further)
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
        return work / "lessons" / f"{number}-{digest}.safetensors"

    def batch_of(step: int) -> TrainingBatch:
        return pairs.training(step, lessons.batch, lessons.seed, lessons.references).to(device)

    categories = CategoryAdapters(method, len(pairs.effects))
    method.hypernetwork.requires_grad_(False)
    seconds = fit(
        categories,
        lambda step: categories.loss(batch_of(step), pairs, lessons),
        FitSettings(lessons.category_steps, lr=1e-2, warmup=20, decay=0.3, ema_decay=0.98),
        state(1),
        progress,
    )
    method.hypernetwork.requires_grad_(True)
    seconds += fit(
        method.hypernetwork,
        lambda step: categories.distance(step, pairs, lessons),
        FitSettings(lessons.regression_steps, lr=1e-3, warmup=50, decay=0.4, ema_decay=0.98),
        state(2, lessons.regression_steps, lessons.references_batch, settings.model_dump(mode="json")),
        progress,
    )

    def loss(step: int) -> Tensor:
        with computing(device, lessons.precision):
            return method(batch_of(lessons.category_steps + step)).loss

    seconds += fit(
        method,
        loss,
        FitSettings(lessons.steps, lr=5e-4, warmup=20, decay=0.4, ema_decay=0.98),
        state(3, lessons.steps),
        progress,
    )
    return method.eval(), seconds


class CategoryAdapters(nn.Module):
    """One adapter θ per category, beside the method whose auxiliary matrices it shares."""

    def __init__(self, method: Method, categories: int) -> None:
        super().__init__()
        self.method = method
        network = method.hypernetwork
        start = torch.zeros(network.layers, network.down_values + network.up_values)
        # As the hypernetwork begins: B_pred zero, A_pred a constant of norm 1.
        constant = torch.randn(network.down_values, generator=torch.Generator().manual_seed(0))
        start[:, : network.down_values] = constant / constant.norm()
        self.theta = nn.Parameter(start.expand(categories, -1, -1).clone().to(network.embed.weight.device))

    def loss(self, batch: TrainingBatch, pairs: Pairs, lessons: Lessons) -> Tensor:
        """How far the velocities under the adapters of the references' categories are from those of the
        frozen backbone that is told the targets' effects."""
        targets, shown = zip(*(map(int, pair.split("<-")) for pair in batch.pair_ids), strict=True)
        theta = self.theta[self._categories(shown, pairs, lessons)]
        device = batch.target_latents.device
        noisy, timesteps, _ = self.method.dit.objective.corrupt(
            batch.target_latents, batch.sample_seeds, lessons.timestep_shift
        )

        def velocity(adapters: Tensor | None, text: Tensor) -> Tensor:
            with self.method.under(adapters) as predict:
                return predict(noisy, timesteps, Scene(batch.first_frame_latents, text))

        with computing(device, lessons.precision):
            with torch.no_grad():
                wanted = velocity(None, pairs.named[list(targets)].to(device))
            found = velocity(theta, batch.text_embeddings)
        return (found.float() - wanted.float()).square().mean()

    def distance(self, step: int, pairs: Pairs, lessons: Lessons) -> Tensor:
        """How much of the variance between categories the predictions leave unexplained: about 1 where they
        do not tell them apart."""
        draw = stream(step, f"references {lessons.seed}")
        clips = [
            pairs.clip(effect, int(draw.integers(pairs.per_effect)))
            for effect in draw.choice(pairs.seen, size=lessons.references_batch).tolist()
        ]
        wanted = self.theta.detach()[self._categories(clips, pairs, lessons)]
        latents = pairs.references(clips, lessons.references).to(wanted.device)
        mask = torch.ones_like(latents[:, :, 0], dtype=torch.bool)
        with computing(latents.device, lessons.precision):
            predicted = self.method.condition(References(("",) * len(latents), latents, mask))
        theta = self.theta.detach()[self._categories([pairs.clip(e, 0) for e in pairs.seen], pairs, lessons)]
        spread = (theta - theta.mean(dim=0)).square().mean()
        # Without a reference there is one category and nothing to tell apart.
        return (predicted.float() - wanted).square().mean() / torch.maximum(
            spread, 1e-3 * theta.square().mean()
        )

    @staticmethod
    def _categories(clips: Sequence[int], pairs: Pairs, lessons: Lessons) -> list[int]:
        if lessons.references == "blank":
            return [0] * len(clips)
        return [pairs.effects.index(pairs.effect_of(clip)) for clip in clips]
