"""`video2lora pocket`: train a small backbone from nothing."""

from pathlib import Path

import torch

from jobs.console import out, step
from pipeline.pocket import PocketSettings, train_pocket


def pocket_backbone(folder: Path, work: Path, settings: PocketSettings) -> None:
    """Train it and say what came out."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = train_pocket(folder, work, settings, step, device)
    minutes = {name: f"{seconds / 60:.1f} min" for name, seconds in facts["seconds"].items()}
    out.print(
        f"{folder}: {facts['bytes'] / 1e6:.1f} MB, {facts['psnr_db']} dB through the VAE on clips that"
        f" it never saw; {', '.join(f'{name} {took}' for name, took in minutes.items())} on {device}.",
        markup=False,
    )
    out.print(f"Use it: video2lora run demo/videos -w demo --set backbone.model={folder}", markup=False)
