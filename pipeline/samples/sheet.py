"""A contact sheet: a few frames of every category in order, for a person to look at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.samples.render import render_frames

FRAME = (64, 96)  # height and width of a frame
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
GAP, LABEL = 3, 15
PAGE = 60  # effects on a page


def contact_sheet(effects: Sequence[str], seed: int = 0, columns: int = 3) -> Image.Image:
    """Every effect's name over frames at five times of a clip, each clip with its own scene.

    Args:
        effects: names in CATEGORIES, drawn row by row.
        seed: of the first clip; the next one's is one more.
        columns: effects side by side.
    """
    height, width = FRAME
    wide, tall = len(TIMES) * (width + GAP) + 4 * GAP, height + LABEL + GAP
    rows = -(-len(effects) // columns)
    sheet = Image.new("RGB", (columns * wide, rows * tall), (250, 250, 248))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for k, name in enumerate(effects):
        left, top = k % columns * wide + GAP, k // columns * tall
        pen.text((left, top), name, fill=(20, 20, 20), font=font)
        for place, pixels in enumerate(render_frames(name, seed + k, TIMES, height, width)):
            sheet.paste(Image.fromarray(np.asarray(pixels)), (left + place * (width + GAP), top + LABEL))
    return sheet


def write_sheets(folder: Path, effects: Sequence[str], seed: int = 0) -> list[Path]:
    """Draw pages of 60 effects, `<folder>/sheet-0.png` and on, and return their paths."""
    pages = []
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(effects), PAGE):
        pages.append(folder / f"sheet-{first // PAGE}.png")
        contact_sheet(effects[first : first + PAGE], seed + first).save(pages[-1])
    return pages
