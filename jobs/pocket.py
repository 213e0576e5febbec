"""`video2lora pocket`: train a small backbone from nothing, a hypernetwork for it, and a small CLIP."""

from collections.abc import Mapping
from pathlib import Path

import torch

from jobs.console import out, step
from jobs.troubles import usable_folder
from pipeline.embedding.directions import SHIPPED as DIRECTIONS
from pipeline.pocket.backbone import PocketSettings, train_pocket
from pipeline.pocket.clip import ClipLessons, train_clip
from pipeline.pocket.directions import ship_directions
from pipeline.pocket.hypernetwork import Lessons, ship_hypernetwork
from training.backbones.weights import POCKET


def pocket_backbone(
    folder: Path,
    work: Path,
    seed: int,
    backbone: Mapping[str, int | None],
    hypernetwork: Mapping[str, int | None],
) -> None:
    """Train all four, by their settings' defaults where a value is None, and say what came out."""
    usable_folder(folder, "The folder")
    usable_folder(work, "--work")
    settings = PocketSettings(**_given(backbone), seed=seed)
    lessons = Lessons(**_given(hypernetwork), seed=seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = train_pocket(folder, work, settings, step, device)
    seconds = dict(facts["seconds"])
    shipped = ship_hypernetwork(folder, work, lessons, step, device)
    seconds["hypernetwork"] = shipped["seconds"]
    taught = train_clip(folder / "clip", work, ClipLessons(seed=seed), step, device)
    seconds["CLIP"] = taught["seconds"]
    fitted = ship_directions(folder / DIRECTIONS.name, work, step)
    took = ", ".join(f"{name} {each / 60:.1f} min" for name, each in seconds.items())
    size = (facts["bytes"] + shipped["bytes"] + taught["bytes"] + fitted["bytes"]) / 1e6
    out.print(
        f"{folder}: {size:.1f} MB, {facts['psnr_db']} dB through the VAE on clips that it never saw; {took}"
        f" on {device}.",
        markup=False,
    )
    if folder.resolve() != POCKET:
        out.print(
            f"Use it: video2lora run demo/videos -w mine --set backbone.model={folder} --set"
            f" train.start_from={folder / 'hypernetwork'}"
            f" --set embed.pretrained={folder / 'clip'}\n"
            f"Its {DIRECTIONS.name} counts once it replaces {DIRECTIONS}.",
            markup=False,
        )


def _given(values: Mapping[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}
