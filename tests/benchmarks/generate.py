"""Where the seconds of a generated clip go, beside diffusers' plain pipeline on the same weights.

`python -m tests.benchmarks.generate` takes the shipped pocket model (`--release FOLDER` another) and times,
in processor seconds on a CPU and by the clock on a GPU: the text, the adapter predicted from stored latents
and from frames, the first frame, the denoising with and without an adapter, the decoding, the writing; then
the whole clip beside `CogVideoXImageToVideoPipeline`, in turns; then several seeds one after another, and
with each decoded while the next is denoised. Prints one JSON object as its last line.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import CogVideoXImageToVideoPipeline
from PIL import Image

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.adapters import Reference
from pipeline.features.tensors import to_bytes
from pipeline.samples.draw import draw_clip
from pipeline.studio import Studio
from pipeline.video.transcode import encode_video
from training.backbones.settings import BackboneSettings
from training.generate import generate, sample
from training.release import Release, read_release, shipped_model
from training.settings import GenerateSettings

PROMPT = "a red ball on a table"


def main(arguments: list[str] | None = None) -> dict:
    options = _parser().parse_args(arguments)
    release = shipped_model() if options.release is None else read_release(options.release)
    settings = GenerateSettings(steps=options.steps, guidance=options.guidance)
    with tempfile.TemporaryDirectory() as folder:
        studio, stored, frames = _studio(Path(folder), release, settings)
        report = {
            "model": release.model_id,
            "device": _device(studio),
            "size": list(frames.shape[:3]),
            "steps": options.steps,
            "guidance": options.guidance,
        }
        report["seconds"] = parts(studio, stored, frames, options.repeats)
        report["whole"] = beside_diffusers(studio, stored, frames, options.repeats)
        report["seeds"] = overlap(studio, stored, frames, options.seeds)
    print(json.dumps(report))
    return report


def parts(studio: Studio, stored: Reference, frames: np.ndarray, repeats: int) -> dict[str, float]:
    """Median seconds of each part of a clip."""
    backbone, method, chosen = studio.backbone, studio.method, studio.settings
    adapter = studio.adapter(stored)
    asked = (frames[0], PROMPT, chosen.steps, chosen.guidance)
    latents = sample(backbone, method, adapter.condition, *asked)
    video = backbone.decode(latents).numpy()
    generator = torch.Generator().manual_seed(0)
    work: dict[str, Callable[[], object]] = {
        "text": lambda: backbone.encode_text([PROMPT]),
        "adapter_from_stored_latents": lambda: studio.adapter(stored),
        "adapter_from_frames": lambda: studio.adapter(Reference("a file", frames)),
        "first_frame": lambda: backbone.draw_first_frame(frames[0], generator),
        "text_frame_and_denoising": lambda: sample(backbone, method, adapter.condition, *asked),
        "the_same_without_adapter": lambda: sample(backbone, method, None, *asked),
        "decoding": lambda: backbone.decode(latents),
        "writing": lambda: encode_video(video, studio.catalog.spec.fps),
    }
    return {name: round(_median(each, repeats), 4) for name, each in work.items()}


def beside_diffusers(studio: Studio, stored: Reference, frames: np.ndarray, repeats: int) -> dict[str, float]:
    """Median seconds of a whole clip, ours under an adapter and theirs without, in turns."""
    backbone, chosen, size = studio.backbone, studio.settings, studio.backbone.geometry
    pipe = CogVideoXImageToVideoPipeline.from_pretrained(
        backbone.folder, torch_dtype=backbone.settings.torch_dtype
    ).to(_device(studio))
    pipe.set_progress_bar_config(disable=True)
    condition = studio.adapter(stored).condition

    def theirs() -> object:
        return pipe(
            image=Image.fromarray(frames[0]),
            prompt=PROMPT,
            height=size.height,
            width=size.width,
            num_frames=size.num_frames,
            num_inference_steps=chosen.steps,
            guidance_scale=chosen.guidance,
            max_sequence_length=backbone.settings.max_text_tokens,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        )

    def ours() -> object:
        return generate(backbone, studio.method, condition, frames[0], PROMPT, chosen.steps, chosen.guidance)

    taken: dict[str, list[float]] = {"ours": [], "diffusers": []}
    ours(), theirs()
    for _ in range(repeats):
        for name, each in (("ours", ours), ("diffusers", theirs)):
            taken[name].append(_seconds(each))
    found = {name: statistics.median(values) for name, values in taken.items()}
    rounded = {name: round(value, 3) for name, value in found.items()}
    return rounded | {"ratio": round(found["ours"] / found["diffusers"], 3)}


def overlap(studio: Studio, stored: Reference, frames: np.ndarray, seeds: int) -> dict[str, float]:
    """Seconds by the clock of several clips, one after another and overlapped; both are written."""
    adapter = studio.adapter(stored)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "clip.mp4"
        began = time.perf_counter()
        for seed in range(seeds):
            studio.make(adapter, frames[0], PROMPT, seed=seed).save(place, lora=False)
        alone = time.perf_counter() - began
        began = time.perf_counter()
        for _ in studio.seeds(
            adapter, frames[0], PROMPT, range(seeds), keep=lambda _, clip: clip.save(place, lora=False)
        ):
            pass
        beside = time.perf_counter() - began
    return {
        "clips": seeds,
        "one_after_another": round(alone, 2),
        "overlapped": round(beside, 2),
        "ratio": round(beside / alone, 3),
    }


def _studio(
    folder: Path, release: Release, settings: GenerateSettings
) -> tuple[Studio, Reference, np.ndarray]:
    """A studio, a reference whose latents are stored, and its frames."""
    size = BackboneSettings.model_validate(release.facts["backbone"]).geometry
    spec = ClipSpec(num_frames=size.num_frames, fps=8, height=size.height, width=size.width)
    studio = Studio(Catalog.create(folder / "catalog", spec), release, settings=settings)
    frames = draw_clip(7, size.num_frames, size.height, size.width)[0]
    latents, _ = studio.backbone.encode_video(frames)
    row = {"clip_id": "stored", "encoder_id": studio.backbone.encoder_id, "caption": ""}
    row |= {"latents_mean": to_bytes(latents), "latents_shape": list(latents.shape)}
    studio.catalog.upsert("features", [row])
    return studio, Reference("stored", frames, stored=True), frames


def _device(studio: Studio) -> str:
    return next(studio.backbone.dit.module.parameters()).device.type


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    return statistics.median(_seconds(work) for _ in range(repeats))


def _seconds(work: Callable[[], object]) -> float:
    """By the clock on a GPU; on a CPU what its processors did: the clock also times who else is there."""
    if not torch.cuda.is_available():
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", type=Path, help="a model's folder [default: the shipped one]")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=4)
    return parser


if __name__ == "__main__":
    main()
