"""Decoded frames to upright RGB pictures of the size that a plan asks for, by FFmpeg's own filters."""

from collections.abc import Iterator

import av
import numpy as np

from pipeline.video.facts import VideoFacts
from pipeline.video.plan import FitPlan

# Transparent pixels show this: what a player's empty screen shows.
_BEHIND = 0


class Converter:
    """Turns decoded frames into upright RGB pictures of the plan's size; deinterlaces where needed.

    Scaling and colour go through the `scale` filter, and not through PyAV's `reformat`: only the filter knows
    where a format's chroma samples lie, and on saturated edges that is 20 dB.
    """

    def __init__(self, facts: VideoFacts, plan: FitPlan):
        self.interlaced = facts.interlaced
        self.turns = upright(facts.matrix)
        self.size = f"{plan.width}:{plan.height}"
        self._scaler: av.filter.Graph | None = None
        self._scales: tuple | None = None

    def prepared(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The frames, with interlaced ones made whole by bwdif at the same times."""
        if not self.interlaced:
            yield from frames
            return
        graph = None
        for frame in frames:
            if graph is None:
                graph = _graph(frame, [("bwdif", "mode=send_frame:deint=interlaced")])
            graph.push(frame)
            yield from _drain(graph)
        if graph is not None:
            graph.push(None)
            yield from _drain(graph)

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """One frame as uint8 [plan.height, plan.width, 3]; what is transparent is black."""
        alpha = has_alpha(frame)
        kind = (frame.width, frame.height, frame.format.name)
        if self._scales != kind:
            colours = ("format", "pix_fmts=rgba" if alpha else "pix_fmts=rgb24")
            self._scaler, self._scales = _graph(frame, [*self.turns, ("scale", self.size), colours]), kind
        self._scaler.push(frame)
        picture = self._scaler.pull().to_ndarray()
        if alpha:
            opacity = picture[..., 3:].astype(np.uint16)
            blended = picture[..., :3] * opacity + _BEHIND * (255 - opacity)
            picture = ((blended + 127) // 255).astype(np.uint8)
        return picture


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether a frame's format knows transparency."""
    return any(part.is_alpha for part in frame.format.components) or frame.format.name == "pal8"


def _graph(frame: av.VideoFrame, filters: list[tuple[str, str]]) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    for name, arguments in [*filters, ("buffersink", None)]:
        following = graph.add(name, arguments)
        last.link_to(following)
        last = following
    graph.configure()
    return graph


def _drain(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def upright(matrix: tuple[int, int, int, int] | None) -> list[tuple[str, str | None]]:
    """The filters that do what a display matrix (a, b, c, d) says: x' = a x + c y, y' = b x + d y."""
    if matrix is None:
        return []
    a, b, c, d = matrix
    turned = abs(b) > abs(a)
    across, down = (c, b) if turned else (a, d)
    filters = [("transpose", "cclock_flip")] if turned else []
    if across < 0:
        filters.append(("hflip", None))
    if down < 0:
        filters.append(("vflip", None))
    return filters
