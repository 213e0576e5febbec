"""`video2lora pocket`: train small backbones from nothing, a hypernetwork, and a small CLIP."""

from collections.abc import Mapping
from pathlib import Path

import torch

from jobs.console import out, step
from jobs.troubles import usable_folder
from pipeline.embedding.directions import SHIPPED as DIRECTIONS
from pipeline.pocket.backbone import PocketSettings, train_pocket
from pipeline.pocket.clip import ClipLessons, train_clip
from pipeline.pocket.directions import ship_directions
from pipeline.pocket.families import WAN
from pipeline.pocket.hypernetwork import Lessons, ship_hypernetwork
from pipeline.pocket.words import ship_words
from training.backbones.weights import POCKET, POCKET_WAN


def pocket_backbone(
    folder: Path,
    work: Path,
    seed: int,
    backbone: Mapping[str, int | None],
    hypernetwork: Mapping[str, int | None],
    start: Path | None = None,
) -> None:
    """Train a CogVideoX and what belongs to it, by the settings' defaults where a value is None, and say what
    came out."""
    settings, device = _opened(folder, work, seed, backbone)
    # Of the same clips, which are rendered and encoded by then.
    lessons = Lessons(**_given(hypernetwork), clips=settings.clips, seed=seed)
    facts = train_pocket(folder, work, settings, step, device, start=start)
    seconds = dict(facts["seconds"])
    shipped = ship_hypernetwork(folder, work, lessons, step, device)
    seconds["hypernetwork"] = shipped["seconds"]
    taught = train_clip(folder / "clip", work, ClipLessons(seed=seed), step, device)
    seconds["CLIP"] = taught["seconds"]
    fitted = ship_directions(folder / DIRECTIONS.name, work, step)
    said = ship_words(folder / "clip", work, step)
    size = facts["bytes"] + shipped["bytes"] + taught["bytes"] + fitted["bytes"] + said["bytes"]
    _say(folder, size, facts["psnr_db"], seconds, device)
    if folder.resolve() != POCKET:
        out.print(
            f"Use it: video2lora run demo/videos -w mine --set backbone.model={folder} --set"
            f" train.start_from={folder / 'hypernetwork'}"
            f" --set embed.pretrained={folder / 'clip'}\n"
            f"Its {DIRECTIONS.name} counts once it replaces {DIRECTIONS}.",
            markup=False,
        )


def pocket_wan(
    folder: Path, work: Path, seed: int, backbone: Mapping[str, int | None], start: Path | None = None
) -> None:
    """Train a Wan likewise, on the same clips; it has no hypernetwork of its own."""
    settings, device = _opened(folder, work, seed, backbone)
    facts = train_pocket(folder, work, settings, step, device, family=WAN, start=start)
    _say(folder, facts["bytes"], facts["psnr_db"], facts["seconds"], device)
    if folder.resolve() != POCKET_WAN:
        out.print(f"Use it: --profile tiny-wan --set backbone.model={folder}", markup=False)


def _opened(
    folder: Path, work: Path, seed: int, backbone: Mapping[str, int | None]
) -> tuple[PocketSettings, str]:
    usable_folder(folder, "The folder")
    usable_folder(work, "--work")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return PocketSettings(**_given(backbone), seed=seed), device


def _say(folder: Path, size: int, psnr_db: float, seconds: Mapping[str, float], device: str) -> None:
    took = ", ".join(f"{name} {each / 60:.1f} min" for name, each in seconds.items())
    out.print(
        f"{folder}: {size / 1e6:.1f} MB, {psnr_db} dB through the VAE on clips that it never saw; {took} on"
        f" {device}.",
        markup=False,
    )


def _given(values: Mapping[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}
