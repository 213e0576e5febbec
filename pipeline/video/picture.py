"""A picture of a stranger as a clip's first frame: upright, in colour, composited, at the clip's geometry."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from catalog.clip_spec import ClipSpec
from pipeline.errors import BadSource
from pipeline.video.plan import place, plan_fit

MAX_PIXELS = 100_000_000
# What shows through transparency.
BACKGROUND = (255, 255, 255)
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def read_picture(path: Path | BinaryIO, spec: ClipSpec) -> np.ndarray | None:
    """RGB uint8 [height, width, 3] of a picture as a viewer shows it, scaled and cropped as clips are.

    Its EXIF orientation is applied, what is transparent shows BACKGROUND, 16 bits are scaled to 8, and
    floating values count from 0 to 1 (to their largest where that is more).

    Args:
        path: a file of one's own, or an open one (a stranger's is read in `Sandbox.picture`).

    Returns None where the file is no picture: it may be a video.

    Raises:
        BadSource: a picture that cannot be read, or of more than MAX_PIXELS.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadSource(_too_large(path, f"{image.width}×{image.height}"))
            upright = ImageOps.exif_transpose(image)
            opaque = _composited(upright)
            fit = plan_fit(opaque.width, opaque.height, 1.0, spec, "crop")
            scaled = opaque.resize((fit.width, fit.height), Image.Resampling.BICUBIC)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        raise BadSource(_too_large(path, "far more")) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise BadSource(
            f"The picture{_named(path)} cannot be read: {error}. Save it again as PNG."
        ) from error
    # A copy: what Pillow hands out is read-only, which torch warns about.
    return np.array(place(np.asarray(scaled), fit, spec))


def _named(path: Path | BinaryIO) -> str:
    return f" {str(path)!r}" if isinstance(path, Path) else ""


def _composited(image: Image.Image) -> Image.Image:
    """An RGB picture of any mode's."""
    if image.mode in _DEEP:
        values = np.asarray(image, dtype=np.float64)
        return _grey(values / (257 if values.max(initial=0) > 255 else 1))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
        return _grey(255 * values / max(1.0, float(values.max(initial=0))))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (*BACKGROUND, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).convert("RGB")


def _too_large(path: Path | BinaryIO, size: str) -> str:
    return f"The picture{_named(path)} has {size} pixels, and at most {MAX_PIXELS:,} are read: scale it down."
