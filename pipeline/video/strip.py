"""A clip at a glance: its effect strip, and the sheet of moments that a scrubber moves over.

The strip is made where a clip is decoded anyway, from planes; of clips of older catalogues it is made from
the stored video, as the sheet is, when it is first looked at.
"""

import io
from collections.abc import Sequence

import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from catalog.clip_spec import ClipSpec
from pipeline.video.planes import BLACK, WHITE, chroma, frame_of, luma, to_rgb

STRIP_FRAMES = 5
STRIP_WIDTH = 640  # pixels; five frames beside each other
BAR_HEIGHT = 36
# Rows that are sampled for it, of each frame.
_BAR_ROWS = 36
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
    moments = [np.asarray(_resized(frame, width, height)) for frame in _spread(frames, STRIP_FRAMES)]
    return _strip(moments, frames.mean(axis=2).round().astype(np.uint8).swapaxes(0, 1))


def _strip(moments: Sequence[np.ndarray], bar: np.ndarray) -> bytes:
    row = np.concatenate(moments, axis=1)
    strip = Image.new("RGB", (STRIP_WIDTH, row.shape[0] + BAR_HEIGHT))
    strip.paste(Image.fromarray(row), (0, 0))
    strip.paste(_resized(bar, STRIP_WIDTH, BAR_HEIGHT), (0, row.shape[0]))
    return _jpeg(strip)


def strip_of_planes(frames: np.ndarray) -> bytes:
    """The same of frames as `planes` has them, uint8 [n, H * 3 / 2, W], in a few milliseconds.

    The bar is made of samples of each row's colours, more than its few pixels show.
    """
    scaler = VideoReformatter()
    width = STRIP_WIDTH // STRIP_FRAMES
    rows, columns = frames.shape[1] * 2 // 3, frames.shape[2]
    height = round(width * rows / columns)
    moments = [to_rgb(frame_of(each), scaler, (width, height)) for each in _spread(frames, STRIP_FRAMES)]
    return _strip(moments, _bar(frames))


def _bar(frames: np.ndarray) -> np.ndarray:
    """The mean colour of rows of each frame of planes, RGB uint8 [rows, n, 3]."""
    # Chroma has half of luma's rows and columns: the same places of all three.
    step = max(1, frames.shape[1] // 3 // _BAR_ROWS)
    places = (luma(frames)[:, :: 2 * step, :: 2 * step], *(c[:, ::step, ::step] for c in chroma(frames)))
    y, cb, cr = (each.mean(axis=2, dtype=np.float32).T for each in places)
    y, cb, cr = (y - BLACK) * (255 / (WHITE - BLACK)), (cb - 128) * (255 / 224), (cr - 128) * (255 / 224)
    colours = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2)
    return colours.round().clip(0, 255).astype(np.uint8)


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
