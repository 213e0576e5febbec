"""A video or picture that an edit is about, with what it was before it was brought to the clips' size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from catalog.store import Catalog
from pipeline.errors import BadSource
from pipeline.example import decoded, is_there
from pipeline.video.picture import read_picture
from pipeline.video.transcode import read_clip

# Shapes count as the same up to this: cropping to a multiple of a few pixels is no other shape.
SAME_SHAPE = 0.02


@dataclass(frozen=True)
class Shown:
    """A video.

    Attributes:
        name: as it was asked for.
        frames: uint8 [n, H, W, 3], at the catalogue's geometry.
        width, height: of the upright picture that it was.
        count: frames that it had.
        caption: of a clip of the catalogue, else "".
        clip_id: of a clip of the catalogue, else None.
    """

    name: str
    frames: np.ndarray
    width: float
    height: float
    count: int
    caption: str = ""
    clip_id: str | None = None

    def require_shape(self, what: str, name: str, width: float, height: float) -> None:
        """Check that a picture or a mask has this video's shape; raises BadSource."""
        ours, theirs = self.width / self.height, width / height
        if abs(theirs / ours - 1) > SAME_SHAPE:
            raise BadSource(
                f"{what} {name!r} is {width:g}×{height:g} and the video {self.width:g}×{self.height:g}, which"
                " is another shape: make it of a frame of the video, as `--prepare FOLDER` writes them."
            )


def read_video(catalog: Catalog, name: str) -> Shown:
    """A clip of the catalogue, or a stranger's video file as ingestion reads it.

    Raises:
        BadSource: it is neither, or ingestion would reject it; the message says why.
    """
    stored = catalog.videos([name])
    if name in stored:
        frames = read_clip(stored[name])
        row = catalog.get("clips", [name], ["caption"]).to_pylist()
        caption = (row[0]["caption"] if row else "") or ""
        return Shown(name, frames, frames.shape[2], frames.shape[1], len(frames), caption, name)
    if not is_there(name):
        raise BadSource(f"{name!r} is neither a video file nor a clip_id; find ids with `video2lora search`.")
    answer = decoded(name, catalog.spec)
    facts = answer.facts
    width, height = facts["source_width"], facts["source_height"]
    if facts["rotation"] % 180:
        width, height = height, width
    width *= facts["sample_aspect_ratio"] or 1
    return Shown(name, read_clip(answer.clips[0].video), width, height, facts["source_frames"])


def read_still(video: Shown, what: str, name: str, catalog: Catalog) -> np.ndarray:
    """A picture of the video's shape, uint8 [H, W, 3]; of a video or a clip its first frame.

    Args:
        what: it is, for a person: "The edited first frame".

    Raises:
        BadSource: it cannot be read, or is of another shape.
    """
    size = picture_size(name)
    if size is None:
        other = read_video(catalog, name)
        video.require_shape(what, name, other.width, other.height)
        return other.frames[0]
    video.require_shape(what, name, *size)
    picture = read_picture(Path(name), catalog.spec)
    assert picture is not None
    return picture


def picture_size(name: str) -> tuple[int, int] | None:
    """Width and height of a picture as a viewer shows it; None where the file is none."""
    if not is_there(name):
        return None
    try:
        with Image.open(name) as image:
            width, height = image.size
            turned = image.getexif().get(ImageOps.ExifTags.Base.Orientation, 1) >= 5
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (height, width) if turned else (width, height)
