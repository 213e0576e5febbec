"""`video2lora sample`: procedural effect clips to try everything on."""

from collections import Counter
from pathlib import Path

from jobs.console import out, step
from jobs.troubles import usable_folder
from pipeline.samples.write import write_samples


def sample_videos(folder: Path, categories: int, per_category: int, seed: int) -> None:
    """Render the clips and say what was written."""
    usable_folder(folder, "The folder")
    with step("Rendering samples") as progress:
        clips = write_samples(
            folder, categories=categories, per_category=per_category, seed=seed, progress=progress
        )
    kinds = Counter(clip.category for clip in clips)
    out.print(
        f"{len(clips)} videos in {len(kinds)} categories under {folder}: {', '.join(sorted(kinds))}",
        markup=False,
    )
    out.print(f"Next: video2lora run {folder} --workdir {folder.parent}", markup=False)
