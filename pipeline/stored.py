"""Stored clips by key: decoded one after another, where they are needed."""

from collections.abc import Iterable, Iterator, Sequence

import av
import numpy as np

from catalog.store import Catalog
from pipeline.errors import PipelineError
from pipeline.video.transcode import read_clip
from training.metrics import CLIPS, FAILURES

_NO_VIDEO = "The catalogue holds no video of this clip."


def read_stored(
    catalog: Catalog, clip_ids: Sequence[str]
) -> Iterator[tuple[str, np.ndarray | None, str | None]]:
    """Yield (clip id, frames uint8 [n, H, W, 3], None), or (clip id, None, reason) where it is unreadable.

    One decoded clip is held at a time; the compressed ones are fetched together.
    """
    videos = catalog.videos(clip_ids)
    for clip_id in clip_ids:
        if clip_id not in videos:
            yield clip_id, None, _NO_VIDEO
            continue
        try:
            frames = read_clip(videos[clip_id])
        except (PipelineError, av.FFmpegError, ValueError) as error:
            yield clip_id, None, f"The stored video cannot be read: {error}"
            continue
        yield clip_id, frames, None


def tell_made(stage: str, made: int, reasons: Iterable[str]) -> None:
    """Show in the metrics what a stage made of stored clips, and why it could not read others."""
    CLIPS.add(made, stage=stage)
    for reason in reasons:
        FAILURES.add(1, stage=stage, reason="no_video" if reason == _NO_VIDEO else "unreadable")
