"""A video that somebody names on a command line: the effect to copy, or to look for."""

from pathlib import Path

import numpy as np

from catalog.clip_spec import ClipSpec
from pipeline.errors import BadSource
from pipeline.video.normalise import NormaliseSettings
from pipeline.video.sandbox import Sandbox
from pipeline.video.transcode import read_clip


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
    # Two frames are enough to show an effect to a person who chose this very file.
    settings = NormaliseSettings(min_frames=2, max_windows=1)
    try:
        with Path(path).open("rb") as file, Sandbox(spec, settings) as sandbox:
            answer = sandbox.normalise(file)
    except OSError as error:
        raise BadSource(f"The video {str(path)!r} cannot be read: {error.strerror}.") from error
    if not answer.clips:
        raise BadSource(f"The video {str(path)!r} cannot be used. {answer.reason}")
    return read_clip(answer.clips[0].video)
