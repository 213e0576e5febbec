"""The pocket backbones: a small CogVideoX-I2V and a small Wan I2V, trained from nothing on rendered effects.

Each knows how every category of `pipeline.samples` goes on from a first frame. As a large one learned it from
captions that say what happens, a pocket one is told the effect's name for most of its training clips. The
captions of a catalogue do not name it, and so it cannot know which one is wanted: that is what a reference is
for.
"""

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.pocket.families import (
    COGVIDEOX,
    POCKET_GEOMETRY,
    POCKET_TEXT_TOKENS,
    Family,
    Pipeline,
)
from pipeline.pocket.grown import grow
from pipeline.pocket.renders import Renders, signed
from pipeline.samples.categories import CATEGORIES
from pipeline.samples.draw import HELD_OUT
from pipeline.samples.scene import make_scene
from training.backbones.layout import read_json
from training.backbones.small_text import quiet_transformers
from training.pretrain.denoiser import Denoiser
from training.pretrain.encoded import EncodedClips
from training.pretrain.fit import FitSettings, fit
from training.pretrain.precision import Precision
from training.pretrain.vae import VAE, reconstruction_psnr, vae_loss
from training.progress import Progress
from training.randomness import derive, stream

POCKET_SHAPE = (POCKET_GEOMETRY.num_frames, POCKET_GEOMETRY.height, POCKET_GEOMETRY.width)
NAMES = tuple(CATEGORIES)
NAMED_TOKENS = 12  # of a caption that names the effect; see `naming`
SAVE_EVERY = 1_000  # steps


@dataclass(frozen=True)
class PocketSettings:
    """How much training.

    Attributes:
        clips: of each category.
        vae_batch: half pictures of a VAE step; of longer and whole ones it takes fewer.
        batch: clips of a DiT step.
        named: share of the DiT's captions that name the effect; see `naming`.
        timestep_shift: of the DiT's timesteps towards noise, and `last_shift` in the last share `last` of its
            steps, in which the grain goes.
        compile: the DiT's blocks; pays after some hundred steps.
        measured: held-out clips on which the VAE is measured.
        precision: of products and convolutions, also in encoding; another one needs another working folder.
    """

    vae_steps: int = 3_000
    vae_batch: int = 128
    clips: int = 64
    dit_steps: int = 5_000
    batch: int = 192
    named: float = 0.7
    timestep_shift: float = 4.0
    last_shift: float = 1.5
    last: float = 0.25
    compile: bool = True
    measured: int = 24
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
    categories: Sequence[str] = NAMES,
    family: Family = COGVIDEOX,
    start: Path | None = None,
) -> dict:
    """Train a pocket backbone and write it, in bf16 and the hub's layout, as the folder `out`.

    Args:
        out: made, or replaced when a pocket backbone lies there.
        work: states, rendered and encoded clips are kept there (57 MB a category); a later call with the same
            folder goes on from them.
        settings: how much.
        step: opens the progress of a named step.
        device: of the training.
        categories: of effects that it is to know, names in `pipeline.samples.categories.CATEGORIES`.
        family: of the backbone; those of one working folder share the clips.
        start: of a trained one whose VAE is kept and whose DiT goes on; None: from nothing.

    Returns:
        what `out`/pocket.json says too: seconds of each step, PSNR of held-out clips, bytes, and of a start
        what its own file said.

    Raises:
        NoPocket: `out` is something else, which would be lost.
        NoStart: `start` is something else.
    """
    out, device = out.resolve(), torch.device(device)
    theirs = any(out.iterdir()) if out.is_dir() else out.exists()
    if theirs and not (out / "pocket.json").is_file():
        raise NoPocket(f"{out} is there and is no pocket backbone: name a folder that does not exist yet.")
    facts: dict = {"settings": asdict(settings), "threads": torch.get_num_threads(), "seconds": {}}
    categories = tuple(categories)
    facts |= {"family": family.name, "device": device.type, "categories": list(categories)}
    work = working_folder(work, categories)
    pipeline = family.pipeline(settings.seed, vocabulary(categories))
    trained = None
    if start is not None:
        grow(pipeline, start, family, categories)
        trained = copy.deepcopy(pipeline.transformer.state_dict())
        facts["start"] = read_json(start / "pocket.json")
    pipeline.vae.to(device)
    with step("Clips") as progress:
        began = time.perf_counter()
        numbers = range(settings.clips * len(categories))
        renders = Renders(work / f"renders-0-{settings.clips}", numbers, categories, POCKET_SHAPE)
        renders.fill(progress)
        renders.to(device)
        facts["seconds"]["clips"] = time.perf_counter() - began
    if trained is None:
        with step("VAE") as progress:
            state = work / f"{family.name}-vae-{settings.seed}.safetensors"
            facts["seconds"]["vae"] = train_vae(family, pipeline.vae, renders, settings, state, progress)
    # As it will be stored: what is encoded from here on is what the stored VAE encodes.
    pipeline.vae.to(torch.bfloat16).to(torch.float32)
    apart = range(HELD_OUT, HELD_OUT + 7 * settings.measured, 7)
    held = Renders(work / f"held-{settings.measured}", apart, categories, POCKET_SHAPE)
    held.fill()
    clips = held.signed(range(len(held))).to(device)
    with family.quick(pipeline.vae):
        if trained is None:
            facts |= family.scale(pipeline.vae, clips, settings.precision)
        psnr = reconstruction_psnr(pipeline.vae, clips, settings.precision)
    facts["psnr_db"] = round(float(np.mean(psnr)), 2)
    with step("Latents") as progress:
        began = time.perf_counter()
        encoded = encoded_clips(pipeline.vae, work, renders, progress, settings.precision, family)
        facts["seconds"]["latents"] = time.perf_counter() - began
    denoiser = family.denoiser(pipeline, POCKET_TEXT_TOKENS, settings.precision).to(device)
    state = encoded.folder / "dit.safetensors"
    if trained is not None:
        denoiser.transformer.load_state_dict(trained)
        state = state.with_name(f"dit-from-{weights_id(denoiser)}.safetensors")
    with step("DiT") as progress:
        facts["seconds"]["dit"] = train_dit(
            denoiser, encoded, renders, settings, state, progress, grown=trained is not None
        )
    write_backbone(pipeline, out, facts)
    return facts


def known_categories(folder: Path) -> tuple[str, ...]:
    """The categories that the pocket backbone in a folder was told by name."""
    return tuple(read_json(folder / "pocket.json", "categories")["categories"])


def working_folder(work: Path, categories: Sequence[str] = NAMES) -> Path:
    """Where in `work` the clips of these categories lie: another list of them has other clips."""
    return work / f"categories-{hashlib.sha256(' '.join(categories).encode()).hexdigest()[:12]}"


def train_vae(
    family: Family, vae: VAE, renders: Renders, settings: PocketSettings, state: Path, progress: Progress
) -> float:
    """Fit the VAE in the stages of its family and return the seconds."""
    frames, height, width = renders.shape

    def loss(step: int) -> Tensor:
        draw = stream(step, f"pocket vae {settings.seed}")
        done = step / settings.vae_steps
        stage = next(each for each in family.stages if done < each.until)
        videos = []
        for _ in range(max(1, settings.vae_batch // stage.share)):
            first, place = int(draw.integers(frames - stage.frames + 1)), int(draw.integers(len(renders)))
            video = renders.clip(place)[first : first + stage.frames]
            if stage.quarters:
                top, left = (int(draw.integers(size // 2 + 1)) for size in (height, width))
                video = video[:, top : top + height // 2, left : left + width // 2]
            videos.append(video)
        return vae_loss(vae, signed(torch.stack(videos).to(vae.device)), step, settings.precision)

    family.start_vae(vae)
    vae.train()
    fitted = FitSettings(settings.vae_steps, lr=3e-3, save_every=SAVE_EVERY)
    with family.quick(vae):
        seconds = fit(vae, loss, fitted, state, progress)
    vae.eval().requires_grad_(False)
    return seconds


def train_dit(
    denoiser: Denoiser,
    encoded: EncodedClips,
    renders: Renders,
    settings: PocketSettings,
    state: Path,
    progress: Progress,
    grown: bool = False,
) -> float:
    """Fit the DiT and its encoders on the encoded renders. Returns the seconds.

    `grown`: all but its words is trained, and those have to catch up.
    """
    denoiser.train()
    if settings.compile:
        for block in denoiser.blocks:
            block.compile()
    device = encoded.mean.device
    names = renders.categories
    shown = [names[number % len(names)] for number in renders.numbers]
    captions = renders.captions
    # What a clip may be told, by [named or not, captioned or not]: [2, 2, n, T].
    told = [[captions, [""] * len(captions)]]
    told.append([[naming(*each) for each in zip(row, shown, strict=True)] for row in told[0]])
    tokens = torch.stack([torch.stack([denoiser.tokens(row) for row in rows]) for rows in told]).to(device)
    images = denoiser.images([renders.clip(place)[0].cpu().numpy() for place in range(len(renders))])
    images = None if images is None else images.to(device)

    def loss(step: int) -> Tensor:
        drawn = generator(device, step, f"pocket dit {settings.seed}")
        chosen = torch.randint(len(encoded), (settings.batch,), generator=drawn, device=device)
        named = torch.rand(settings.batch, generator=drawn, device=device) < settings.named
        dropped = torch.rand(settings.batch, generator=drawn, device=device) < 0.1
        last = step >= (1 - settings.last) * settings.dit_steps
        return denoiser.loss(
            *encoded.draw(chosen, drawn),
            tokens[named.long(), dropped.long(), chosen],
            drawn,
            settings.last_shift if last else settings.timestep_shift,
            None if images is None else images[chosen],
        )

    fitted = FitSettings(settings.dit_steps, lr=1e-3, save_every=SAVE_EVERY)
    matrices, words = denoiser.hidden_matrices(), [denoiser.word_table()] if grown else []
    seconds = fit(denoiser, loss, fitted, state, progress, matrices, words)
    denoiser.eval()
    return seconds


def generator(device: torch.device, step: int, purpose: str) -> torch.Generator:
    """What a step draws from, on its device: a function of the step and the purpose."""
    return torch.Generator(device).manual_seed(derive(step, purpose))


def naming(caption: str, effect: str) -> str:
    """The caption of a clip that also says what happens in it; the caption may be empty.

    The name stands there many times: attention begins even over 344 tokens, and a single one among them is
    not heard for thousands of steps. Of a category that is made of parts their names stand beside its own,
    so that what is learned of a part serves wherever it occurs.
    """
    return " ".join([*islice(cycle(_words(effect)), NAMED_TOKENS), caption]).strip()


def vocabulary(categories: Sequence[str]) -> list[str]:
    """Words that are tokens of their own: those of the captions, names of the categories and their parts."""
    captions = " ".join(make_scene(n).caption for n in range(2_000)).replace(".", " ").split()
    return sorted({*captions, *(word for name in categories for word in _words(name))})


def _words(effect: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((effect, *CATEGORIES[effect].parts)))


def encoded_clips(
    vae: VAE,
    work: Path,
    renders: Renders,
    progress: Progress | None = None,
    precision: Precision = "bfloat16",
    family: Family = COGVIDEOX,
) -> EncodedClips:
    """The renders through this VAE; what lies in `work` is not encoded again.

    The folder is named by the VAE and the clips: another precision needs another `work`.
    """
    numbers = f"{renders.numbers[0]}-{renders.numbers[-1]}-{len(renders)}"
    encoded = EncodedClips(work / f"latents-{weights_id(vae)}-{numbers}", precision, family.encode)
    return encoded.fill(vae, renders.signed, len(renders), progress, 4 if vae.device.type == "cpu" else 48)


def weights_id(module: nn.Module) -> str:
    """Twelve hexadecimal digits that differ when any weight does."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def write_backbone(pipeline: Pipeline, out: Path, facts: dict) -> None:
    """Save in bf16 beside `out`, then take its place."""
    building = out.with_name(f".{out.name}-new")
    shutil.rmtree(building, ignore_errors=True)
    with quiet_transformers():
        pipeline.to("cpu", torch.bfloat16).save_pretrained(building)
    facts["bytes"] = sum(file.stat().st_size for file in building.rglob("*") if file.is_file())
    (building / "pocket.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)
