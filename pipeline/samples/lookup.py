"""Fast look-ups into a picture at positions between its pixels, for bends that no affine map describes."""

import numpy as np
from PIL import Image


class Lookup:
    """A picture enlarged once, so that the nearest fine pixel is as good as interpolating every time.

    Positions outside the picture are clamped to its border.

    Args:
        fine: how many times it is enlarged; 1 where it is asked for one frame only.
    """

    def __init__(self, picture: Image.Image, fine: int | None = None) -> None:
        self.fine = fine or (4 if max(picture.size) < 300 else 3)
        size = (picture.width * self.fine, picture.height * self.fine)
        # Alpha and colours are enlarged apart: Pillow would blacken what is transparent.
        if self.fine == 1:
            self.width, self.height = picture.size
            self._packed = np.array(picture.convert("RGBA")).view(np.uint32).ravel()
            return
        bands = [band.resize(size, Image.Resampling.BILINEAR) for band in picture.convert("RGBA").split()]
        self.width, self.height = size
        self._packed = np.ascontiguousarray(np.asarray(Image.merge("RGBA", bands))).view(np.uint32).ravel()

    def at(self, column: np.ndarray, row: np.ndarray) -> Image.Image:
        """The RGBA picture whose pixel [i, j] is this one at pixel position (row[i, j], column[i, j]).

        Either may be one row [1, w] or one column [h, 1] where it is the same along the other axis.
        """
        x = np.minimum(np.maximum(column * np.float32(self.fine), 0), self.width - 1).astype(np.int32)
        y = np.minimum(np.maximum(row * np.float32(self.fine), 0), self.height - 1).astype(np.int32)
        found = self._packed.take(y * self.width + x)
        return Image.fromarray(found.view(np.uint8).reshape(*found.shape, 4))
