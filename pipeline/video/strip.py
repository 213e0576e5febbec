"""A clip at a glance: its effect strip, and the sheet of moments that a scrubber moves over."""

import io

import numpy as np
from PIL import Image

from catalog.clip_spec import ClipSpec

STRIP_FRAMES = 5
STRIP_WIDTH = 640  # pixels; five frames beside each other
BAR_HEIGHT = 36
# A sheet has SHEET_SIDE² moments, in rows from the upper left.
SHEET_SIDE = 5
MOMENT_WIDTH = 192
QUALITY = 80


def effect_strip(frames: np.ndarray) -> bytes:
    """Five moments in order, and below them every frame as one column of its colours from top to bottom.

    Args:
        frames: RGB uint8 [n, H, W, 3].

    Returns:
        A JPEG, `STRIP_WIDTH` wide, whose lowest `BAR_HEIGHT` rows are the colour × time bar.
    """
    width = STRIP_WIDTH // STRIP_FRAMES
    height = _height(frames, width)
    strip = Image.new("RGB", (STRIP_WIDTH, height + BAR_HEIGHT))
    for place, frame in enumerate(_spread(frames, STRIP_FRAMES)):
        strip.paste(_resized(frame, width, height), (place * width, 0))
    columns = frames.mean(axis=2).round().astype(np.uint8).swapaxes(0, 1)
    strip.paste(_resized(columns, STRIP_WIDTH, BAR_HEIGHT), (0, height))
    return _jpeg(strip)


def scrub_sheet(frames: np.ndarray) -> bytes:
    """Moments spread evenly over a clip, as a JPEG of `SHEET_SIDE` rows; see `effect_strip`."""
    height = _height(frames, MOMENT_WIDTH)
    sheet = Image.new("RGB", (SHEET_SIDE * MOMENT_WIDTH, SHEET_SIDE * height))
    for number, frame in enumerate(_spread(frames, SHEET_SIDE**2)):
        row, column = divmod(number, SHEET_SIDE)
        sheet.paste(_resized(frame, MOMENT_WIDTH, height), (column * MOMENT_WIDTH, row * height))
    return _jpeg(sheet)


def strip_size(spec: ClipSpec) -> tuple[int, int]:
    """Width and height of the strips of a catalogue's clips, in pixels."""
    width = STRIP_WIDTH // STRIP_FRAMES
    return STRIP_WIDTH, round(width * spec.height / spec.width) + BAR_HEIGHT


def _spread(frames: np.ndarray, count: int) -> np.ndarray:
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]


def _height(frames: np.ndarray, width: int) -> int:
    return round(width * frames.shape[1] / frames.shape[2])


def _resized(frame: np.ndarray, width: int, height: int) -> Image.Image:
    return Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
