"""`video2lora sample`: procedural effect clips to try everything on."""

from collections import Counter
from pathlib import Path

from jobs.console import out, step
from jobs.troubles import usable_folder
from pipeline.samples.sheet import write_sheets
from pipeline.samples.write import write_samples

_NAMED = 30  # more categories than this are a wall of words


def sample_videos(folder: Path, categories: int, per_category: int, seed: int, sheets: Path | None) -> None:
    """Render the clips, and contact sheets where asked for, and say what was written."""
    usable_folder(folder, "The folder")
    if sheets:
        usable_folder(sheets, "--sheets")
    with step("Rendering samples") as progress:
        clips = write_samples(
            folder, categories=categories, per_category=per_category, seed=seed, progress=progress
        )
    kinds = Counter(clip.category for clip in clips)
    named = ", ".join(sorted(kinds)) if len(kinds) <= _NAMED else "one folder each"
    out.print(f"{len(clips)} videos in {len(kinds)} categories under {folder}: {named}", markup=False)
    if sheets:
        pages = write_sheets(sheets, list(kinds), seed)
        out.print(f"Five frames of each category: {', '.join(map(str, pages))}", markup=False)
    out.print(f"Next: video2lora run {folder} --workdir {folder.parent}", markup=False)
