"""Reading by decord, for files it is known to get right; it gives RGB and nothing else."""

import importlib
import io
import sys
from typing import BinaryIO

import numpy as np

from pipeline.video.facts import VideoFacts
from pipeline.video.plan import FitPlan

# decord reads a whole file into memory.
_LARGEST_IN_MEMORY = 128 * 1024**2
# Files that decord decodes as the ffmpeg command does, checked on real ones.
_CONTAINERS = {"mov", "matroska"}
_CODECS = {"h264", "hevc", "vp9", "mpeg4", "vp8"}


def _import_without_cuda(name: str):
    """Import decord without the CUDA libraries it would load where it finds them: 600 MB for nothing here."""
    absent = object()
    before = sys.modules.get("nvidia", absent)
    sys.modules["nvidia"] = None
    try:
        return importlib.import_module(name)
    finally:
        if before is absent:
            del sys.modules["nvidia"]
        else:
            sys.modules["nvidia"] = before


decord = _import_without_cuda("decord")


def silence() -> None:
    """Keep decord from writing to the terminal about damaged files."""
    decord.logging.set_level(decord.logging.QUIET)


def is_ordinary(facts: VideoFacts) -> bool:
    """Whether decord can be trusted with the file."""
    return (
        facts.container in _CONTAINERS
        and facts.codec in _CODECS
        and facts.pixel_format == "yuv420p"
        and facts.matrix is None
        and facts.timestamps_stated
        and facts.bytes <= _LARGEST_IN_MEMORY
        and not (facts.interlaced or facts.open_gop or facts.changes_size or facts.alpha_layer)
    )


def read_frames(
    file: BinaryIO, facts: VideoFacts, wanted: np.ndarray, plan: FitPlan
) -> dict[int, np.ndarray] | None:
    """Frames by number, scaled to the plan: {index: uint8 [plan.height, plan.width, 3]}.

    None when decord refuses the file or its account of it is not the container's.
    """
    file.seek(0)
    try:
        reader = decord.VideoReader(
            io.BytesIO(file.read()), width=plan.width, height=plan.height, num_threads=1
        )
        if len(reader) != len(facts.timestamps):
            return None
        shown = reader.get_frame_timestamp(wanted.tolist())[:, 0]
        stated = facts.timestamps[wanted]
        # Its clock may start elsewhere, but must run alike.
        if np.abs((shown - shown[0]) - (stated - stated[0])).max() > 2e-3:
            return None
        pictures = reader.get_batch(wanted.tolist()).asnumpy()
    except (decord.DECORDError, RuntimeError, AssertionError, IndexError):
        # Its ways of refusing a file; PyAV has the last word.
        return None
    if pictures.shape[1:3] != (plan.height, plan.width):
        return None
    return dict(zip(wanted.tolist(), pictures, strict=True))
