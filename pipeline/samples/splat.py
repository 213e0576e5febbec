"""Many small things put into a frame by a few NumPy operations: pixels, fragments of a picture, soft dots."""

import numpy as np
from PIL import Image


def packed(colours: np.ndarray) -> np.ndarray:
    """uint8 colours [n, 3] as opaque RGBA pixels in one number each, uint32 [n]."""
    rgba = np.full((len(colours), 4), 255, np.uint8)
    rgba[:, :3] = colours
    return rgba.view(np.uint32)[:, 0]


def strew(
    frame: Image.Image, column: np.ndarray, row: np.ndarray, pixels: np.ndarray, block: int = 1
) -> None:
    """Put a square of `block` pixels at every place [n]; of two at one place the later is seen.

    Args:
        frame: an RGB picture, changed.
        column, row: where the upper left pixel of each square lies; may be outside the frame.
        pixels: as `packed` makes them, [n].
    """
    canvas, index = _canvas(frame, column, row, block)
    stride = canvas.shape[1]
    flat = canvas.reshape(-1)
    for down in range(block):
        for across in range(block):
            flat[index + (down * stride + across)] = pixels
    _lay(frame, canvas, block)


def cover(frame: Image.Image, column: np.ndarray, row: np.ndarray, pixels: np.ndarray, area: float) -> None:
    """Like `strew`, of points that are each `area` pixels large: where few fall the frame shines through."""
    canvas, index = _canvas(frame, column, row, 1)
    flat = canvas.reshape(-1)
    flat[index] = pixels
    share = np.bincount(index, minlength=flat.size) * (255 * area)
    flat.view(np.uint8)[3::4] = np.minimum(share, 255).astype(np.uint8)
    _lay(frame, canvas, 1)


def dots(
    frame: Image.Image, x: np.ndarray, y: np.ndarray, half: np.ndarray, colour: tuple[int, int, int]
) -> None:
    """Soft round dots of one colour, `half` pixels in radius, around the places (x, y), each [n]."""
    if not len(x):
        return
    steps = np.arange(int(2 * half.max()) + 3)
    left, top = (np.floor(middle - half.max()).astype(np.int32)[:, None] + steps for middle in (x, y))
    across, down = (left + 0.5 - x[:, None])[:, None, :], (top + 0.5 - y[:, None])[:, :, None]
    share = np.clip(half[:, None, None] + 0.5 - np.sqrt(across * across + down * down), 0, 1)
    width, height = frame.size
    mask = np.zeros((height + 2, width + 2), np.uint8)  # a rim takes what lies outside
    index = (
        np.clip(top + 1, 0, height + 1)[:, :, None] * (width + 2)
        + np.clip(left + 1, 0, width + 1)[:, None, :]
    )
    np.maximum.at(mask.reshape(-1), index.ravel(), (255 * share).astype(np.uint8).ravel())
    frame.paste(colour, (0, 0), Image.fromarray(np.ascontiguousarray(mask[1:-1, 1:-1])))


def _canvas(
    frame: Image.Image, column: np.ndarray, row: np.ndarray, rim: int
) -> tuple[np.ndarray, np.ndarray]:
    """A transparent canvas with a rim that takes what lies outside, and where in it the places are."""
    width, height = frame.size
    canvas = np.zeros((height + 2 * rim, width + 2 * rim), np.uint32)
    x = np.clip(np.floor(column), -rim, width).astype(np.int32) + rim
    y = np.clip(np.floor(row), -rim, height).astype(np.int32) + rim
    return canvas, y * canvas.shape[1] + x


def _lay(frame: Image.Image, canvas: np.ndarray, rim: int) -> None:
    inner = np.ascontiguousarray(canvas[rim:-rim, rim:-rim])
    over = Image.fromarray(inner.view(np.uint8).reshape(*inner.shape, 4))
    frame.paste(over, (0, 0), over)
