"""A video or a picture that somebody names: a clip of the catalogue, or a file of one's own."""

from pathlib import Path

import numpy as np

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.errors import BadSource
from pipeline.video.normalise import NormaliseSettings
from pipeline.video.picture import read_picture
from pipeline.video.sandbox import Answer, Sandbox
from pipeline.video.transcode import read_clip

# Two frames are enough to show an effect to a person who chose this very file.
_ONE_CLIP = NormaliseSettings(min_frames=2, max_windows=1)


def read_example(path: str | Path, spec: ClipSpec) -> np.ndarray:
    """The first clip of a stranger's video file, as ingestion would store it.

    Args:
        path: the file; decoded in the sandbox, like everything that comes from outside.
        spec: the geometry to fill.

    Returns:
        RGB uint8 [num_frames, height, width, 3].

    Raises:
        BadSource: the file is missing or makes no clip; the message says why.
    """
    return read_clip(decoded(path, spec).clips[0].video)


def decoded(path: str | Path, spec: ClipSpec) -> Answer:
    """The same as the sandbox answers it: what the file was, and its first clip."""
    try:
        with Path(path).open("rb") as file, Sandbox(spec, _ONE_CLIP) as sandbox:
            answer = sandbox.normalise(file)
    except OSError as error:
        raise BadSource(f"The video {str(path)!r} cannot be read: {error.strerror}.") from error
    if not answer.clips:
        raise BadSource(f"The video {str(path)!r} cannot be used. {answer.reason}")
    return answer


def read_look(path: str | Path, spec: ClipSpec) -> np.ndarray:
    """What clips may look like: a video as `read_example` reads it, or a picture as its one frame.

    Returns:
        RGB uint8 [n, height, width, 3].

    Raises:
        BadSource: the file is missing, or neither; the message says why.
    """
    if not is_there(str(path)):
        raise BadSource(
            f"{str(path)[:200]!r} is neither a clip_id nor a file; find ids with `video2lora search`."
        )
    try:
        with Path(path).open("rb") as file, Sandbox(spec, _ONE_CLIP) as sandbox:
            answer = sandbox.normalise(file)
            seen = answer if answer.clips else sandbox.picture(file)
    except OSError as error:
        raise BadSource(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    if answer.clips:
        return read_clip(answer.clips[0].video)
    if seen.picture is None:
        raise BadSource(f"{str(path)!r} cannot be used. {seen.reason or answer.reason}")
    return seen.picture[None]


def read_clip_of(catalog: Catalog, name: str) -> np.ndarray:
    """Frames of a clip of the catalogue, or of a video file, uint8 [n, H, W, 3].

    Raises:
        BadSource: it is neither, or a file that makes no clip.
    """
    stored = catalog.videos([name])
    if name in stored:
        return read_clip(stored[name])
    if not is_there(name):
        raise BadSource(f"{name!r} is neither a video file nor a clip_id; find ids with `video2lora search`.")
    return read_example(name, catalog.spec)


def read_reference(catalog: Catalog, name: str) -> np.ndarray:
    """Frames of whatever shows an effect, uint8 [n, H, W, 3]: what `read_clip_of` reads, or a picture, which
    stands still for as long as a clip.

    Raises:
        BadSource: it is none of these, or cannot be read.
    """
    try:
        return read_clip_of(catalog, name)
    except BadSource:
        if not is_there(name) or (picture := _picture(Path(name), catalog.spec)) is None:
            raise
    return np.repeat(picture[None], catalog.spec.num_frames, axis=0)


def _picture(path: Path, spec: ClipSpec) -> np.ndarray | None:
    """A stranger's picture, uint8 [H, W, 3]; None where the file is none that can be read."""
    try:
        with path.open("rb") as file, Sandbox(spec, NormaliseSettings()) as sandbox:
            return sandbox.picture(file).picture
    except OSError:
        return None


def read_first_frame(catalog: Catalog, name: str) -> np.ndarray:
    """A picture, or the first frame of a clip of the catalogue or of a video file, uint8 [H, W, 3].

    Raises:
        BadSource: it is none of these, or cannot be read.
    """
    if is_there(name) and (picture := read_picture(Path(name), catalog.spec)) is not None:
        return picture
    return read_clip_of(catalog, name)[0]


def is_there(name: str) -> bool:
    """Whether a file is called that."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a name that no file can have: too long, or with a NUL
        return False
