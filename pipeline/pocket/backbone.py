"""The pocket backbone: a small CogVideoX-I2V trained from nothing on procedural effects.

It knows how every effect of `pipeline.samples` goes on from a first frame. As a large one learned it from
captions that say what happens, the pocket one is told the effect's name for most of its training clips. The
captions of a catalogue do not name it, and so it cannot know which one is wanted: that is what a reference is
for.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXImageToVideoPipeline
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.samples.draw import HELD_OUT, draw_clip
from pipeline.samples.effects import EFFECTS
from pipeline.samples.scene import make_scene
from training.backbones.cogvideox.small import BackboneSizes, quiet_transformers, small_pipeline
from training.backbones.geometry import SampleGeometry
from training.pretrain.denoiser import Denoiser, start_silent
from training.pretrain.encoded import EncodedClips
from training.pretrain.fit import FitSettings, fit
from training.pretrain.precision import Precision
from training.pretrain.processor import PlainAttention
from training.pretrain.vae import reconstruction_psnr, scale_latents, start_plain, vae_loss
from training.progress import Progress
from training.randomness import stream

POCKET_GEOMETRY = SampleGeometry(num_frames=49, height=64, width=96)
POCKET_TEXT_TOKENS = 32
POCKET_SIZES = BackboneSizes(
    # 4× in space where CogVideoX has 8×, in patches twice as large: as many tokens, and a VAE that learns in
    # an hour on a CPU.
    vae_channels=(16, 32, 64),
    latent_channels=8,
    patch=4,
    layers=6,
    heads=4,
    head_dim=48,
    time_width=128,
    text_width=32,
)
FIRST = tuple(EFFECTS)  # what the shipped backbone knows


@dataclass(frozen=True)
class PocketSettings:
    """How much training.

    Attributes:
        named: share of the DiT's captions that name the effect; see `naming`.
        timestep_shift: of the DiT's timesteps towards noise.
        compile: the DiT's blocks; pays after some hundred steps.
        measured: held-out clips on which the VAE is measured.
        precision: of products and convolutions, also in encoding; another one needs another working folder.
    """

    vae_steps: int = 4_200
    clips: int = 3_456
    dit_steps: int = 12_000
    batch: int = 8
    named: float = 0.7
    timestep_shift: float = 4.0
    compile: bool = True
    measured: int = 12
    seed: int = 0
    precision: Precision = "bfloat16"


class NoPocket(PipelineError):
    """A target that is not a pocket backbone's to replace."""


Steps = Callable[[str], AbstractContextManager[Progress]]


def train_pocket(
    out: Path,
    work: Path,
    settings: PocketSettings,
    step: Steps,
    device: torch.device | str = "cpu",
    categories: Sequence[str] = FIRST,
) -> dict:
    """Train the pocket backbone and write it, in bf16 and the hub's layout, as the folder `out`.

    Args:
        out: made, or replaced when a pocket backbone lies there.
        work: states and encoded clips are kept there; a later call with the same folder goes on from them.
        settings: how much.
        step: opens the progress of a named step.
        device: of the training.
        categories: of effects that it is to know, names in `pipeline.samples.categories.CATEGORIES`.

    Returns:
        what `out`/pocket.json says too: seconds of each step, PSNR of held-out clips, bytes.

    Raises:
        NoPocket: `out` is something else, which would be lost.
    """
    out = out.resolve()
    if out.exists() and not (out / "pocket.json").is_file():
        raise NoPocket(f"{out} is there and is no pocket backbone: name a folder that does not exist yet.")
    facts: dict = {"settings": asdict(settings), "threads": torch.get_num_threads(), "seconds": {}}
    categories = tuple(categories)
    if categories != FIRST:
        facts["categories"] = list(categories)
        work = work / f"categories-{hashlib.sha256(' '.join(categories).encode()).hexdigest()[:12]}"
    words = " ".join(make_scene(n).caption for n in range(2_000)).replace(".", " ").split()
    pipeline = small_pipeline(
        settings.seed, POCKET_GEOMETRY, POCKET_TEXT_TOKENS, POCKET_SIZES, sorted({*words, *categories})
    )
    pipeline.vae.to(device)
    with step("VAE") as progress:
        facts["seconds"]["vae"] = train_vae(
            pipeline.vae, settings, work / f"vae-{settings.seed}.safetensors", progress, categories
        )
    # As it will be stored: what is encoded from here on is what the stored VAE encodes.
    pipeline.vae.to(torch.bfloat16).to(torch.float32)
    measured = (draw_clip(HELD_OUT + 7 * n, *_SHAPE, effects=categories)[0] for n in range(settings.measured))
    clips = [_signed(clip).to(device) for clip in measured]
    facts["scaling_factor"] = scale_latents(pipeline.vae, clips, settings.precision)
    psnr = reconstruction_psnr(pipeline.vae, clips, settings.precision)
    facts["psnr_db"] = round(float(np.mean(psnr)), 2)
    with step("Latents") as progress:
        began = time.perf_counter()
        encoded = encoded_clips(
            pipeline.vae, work, range(settings.clips), progress, categories, settings.precision
        )
        facts["seconds"]["latents"] = time.perf_counter() - began
    denoiser = Denoiser(pipeline, POCKET_TEXT_TOKENS, settings.timestep_shift, settings.precision).to(device)
    with step("DiT") as progress:
        facts["seconds"]["dit"] = train_dit(
            denoiser, encoded, settings, encoded.folder / "dit.safetensors", progress, categories
        )
    write_backbone(pipeline, out, facts)
    return facts


def train_vae(
    vae: AutoencoderKLCogVideoX,
    settings: PocketSettings,
    state: Path,
    progress: Progress,
    categories: Sequence[str] = FIRST,
) -> float:
    """Fit the VAE and return the seconds.

    What it learns from is how many scenes a step shows, so it begins with single frames (60 % of the steps),
    goes on to nine at a time, the least that its chunks allow (25 %), both of quarters of the picture, and
    ends with whole pictures (15 %).
    """
    device = vae.device

    def loss(step: int) -> Tensor:
        draw = stream(step, f"pocket vae {settings.seed}")
        done = step / settings.vae_steps
        count, length = (16, 1) if done < 0.6 else (2, 9) if done < 0.85 else (1, 9)
        videos = []
        for _ in range(count):
            first = int(draw.integers(POCKET_GEOMETRY.num_frames - length + 1))
            number = int(draw.integers(HELD_OUT))
            video = _signed(draw_clip(number, *_SHAPE, first, length, categories)[0])
            if done < 0.85:
                top, left = (int(draw.integers(size // 2 + 1)) for size in _SHAPE[1:])
                video = video[:, :, top : top + _SHAPE[1] // 2, left : left + _SHAPE[2] // 2]
            videos.append(video)
        return vae_loss(vae, torch.stack(videos).to(device), step, settings.precision)

    start_plain(vae)
    vae.train()
    seconds = fit(vae, loss, FitSettings(settings.vae_steps, lr=3e-3), state, progress)
    vae.eval().requires_grad_(False)
    return seconds


def train_dit(
    denoiser: Denoiser,
    encoded: EncodedClips,
    settings: PocketSettings,
    state: Path,
    progress: Progress,
    categories: Sequence[str] = FIRST,
) -> float:
    """Fit the DiT and the text encoder on the encoded clips. Returns the seconds."""
    start_silent(denoiser.transformer)
    denoiser.train()
    denoiser.transformer.set_attn_processor(PlainAttention())
    if settings.compile:
        for block in denoiser.transformer.transformer_blocks:
            block.compile()

    def loss(step: int) -> Tensor:
        draw = stream(step, f"pocket dit {settings.seed}")
        numbers = draw.integers(settings.clips, size=settings.batch)
        clips, captions = encoded.batch(numbers, step)
        told = draw.random(settings.batch) < settings.named
        names = [categories[number % len(categories)] for number in numbers]
        return denoiser.loss(
            clips,
            [naming(*each) if tell else each[0] for *each, tell in zip(captions, names, told, strict=True)],
        )

    hidden = [
        name
        for name, value in denoiser.named_parameters()
        if value.ndim == 2 and ".transformer_blocks." in name and ".norm" not in name
    ]
    seconds = fit(denoiser, loss, FitSettings(settings.dit_steps, lr=1e-3), state, progress, hidden)
    denoiser.eval()
    return seconds


def naming(caption: str, effect: str) -> str:
    """The caption of a clip that also says what happens in it; the caption may be empty.

    The word stands there many times: attention begins even over 344 tokens, and a single one among them is
    not heard for thousands of steps.
    """
    return " ".join([effect] * 12 + [caption]).strip()


def encoded_clips(
    vae: AutoencoderKLCogVideoX,
    work: Path,
    numbers: Sequence[int],
    progress: Progress | None = None,
    categories: Sequence[str] = FIRST,
    precision: Precision = "bfloat16",
) -> EncodedClips:
    """The clips of `draw_clip` with these numbers through this VAE; what lies in `work` is not encoded again.

    The folder is named by the VAE and the first number: sets with the same first one in the same `work` have
    to be beginnings of one another, in the same precision.
    """
    encoded = EncodedClips(work / f"latents-{weights_id(vae)}-{numbers[0]}", precision)

    def clip_of(place: int) -> tuple[Tensor, str]:
        pixels, caption, _ = draw_clip(numbers[place], *_SHAPE, effects=categories)
        return _signed(pixels), caption

    encoded.fill(vae, clip_of, len(numbers), progress)
    return encoded


def weights_id(module: nn.Module) -> str:
    """Twelve hexadecimal digits that differ when any weight does."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def write_backbone(pipeline: CogVideoXImageToVideoPipeline, out: Path, facts: dict) -> None:
    """Save in bf16 beside `out`, then take its place."""
    building = out.with_name(f".{out.name}-new")
    shutil.rmtree(building, ignore_errors=True)
    with quiet_transformers():
        pipeline.to("cpu", torch.bfloat16).save_pretrained(building)
    facts["bytes"] = sum(file.stat().st_size for file in building.rglob("*") if file.is_file())
    (building / "pocket.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)


_SHAPE = (POCKET_GEOMETRY.num_frames, POCKET_GEOMETRY.height, POCKET_GEOMETRY.width)


def _signed(pixels: np.ndarray) -> Tensor:
    """uint8 [n, H, W, 3] → [3, n, H, W] in [-1, 1]."""
    return torch.from_numpy(pixels).permute(3, 0, 1, 2).float() / 127.5 - 1
