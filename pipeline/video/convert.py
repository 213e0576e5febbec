"""Decoded frames to upright pictures in a clip's window, by FFmpeg's own filters."""

from collections.abc import Iterator

import av
import numpy as np

from catalog.clip_spec import ClipSpec
from pipeline.video import planes
from pipeline.video.facts import VideoFacts
from pipeline.video.hdr import is_hdr, to_standard
from pipeline.video.plan import FitPlan, place, window_filters

# Transparent pixels show this: what a player's empty screen shows.
_BEHIND = 0


class Converter:
    """Turns decoded frames into upright `planes` of the clip's geometry; deinterlaces where needed, and
    brings a high dynamic range to the standard one.

    Scaling and colour go through the `scale` filter, and not through PyAV's `reformat`: only the filter knows
    where a format's chroma samples lie, and on saturated edges that is 20 dB.
    """

    def __init__(self, facts: VideoFacts, plan: FitPlan, spec: ClipSpec):
        self.interlaced = facts.interlaced
        self.turns = upright(facts.matrix)
        self.plan, self.spec = plan, spec
        self.window = window_filters(plan, spec)
        self._graphs: dict[str, tuple[av.filter.Graph, tuple]] = {}

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
        """One frame as planes uint8 [spec.height * 3 / 2, spec.width]; what is transparent is black."""
        size = f"{self.plan.width}:{self.plan.height}"
        if is_hdr(frame):
            deep = [*self.turns, ("scale", size), ("format", "pix_fmts=rgb48le")]
            return self._planes_of(to_standard(self._filtered("hdr", frame, deep), frame.color_trc))
        if has_alpha(frame):
            seen = self._filtered("alpha", frame, [*self.turns, ("scale", size), ("format", "pix_fmts=rgba")])
            if seen[..., 3].min() < 255:
                return self._planes_of(_on_black(seen))
        return self._filtered("plain", frame, [*self.turns, *_to_planes(self.plan), *self.window])

    def _filtered(self, name: str, frame: av.VideoFrame, filters: list[tuple[str, str | None]]) -> np.ndarray:
        """A frame through the graph of that name, which is made anew when frames change their form."""
        kind = (frame.width, frame.height, frame.format.name)
        graph, known = self._graphs.get(name, (None, None))
        if kind != known:
            graph = _graph(frame, filters)
            self._graphs[name] = graph, kind
        graph.push(frame)
        return graph.pull().to_ndarray()

    def _planes_of(self, picture: np.ndarray) -> np.ndarray:
        """The planes of an RGB picture uint8 [plan.height, plan.width, 3]."""
        shown = np.ascontiguousarray(place(picture, self.plan, self.spec))
        frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
        return self._filtered("rgb", frame, _to_planes(self.spec))


def _on_black(picture: np.ndarray) -> np.ndarray:
    """RGBA on what is seen where nothing is."""
    opacity = picture[..., 3:].astype(np.uint16)
    blended = picture[..., :3] * opacity + _BEHIND * (255 - opacity)
    return ((blended + 127) // 255).astype(np.uint8)


def _to_planes(size: FitPlan | ClipSpec) -> list[tuple[str, str]]:
    """The filters that bring any picture to `planes` of a size."""
    scale = ("scale", f"{size.width}:{size.height}:out_color_matrix=bt601:out_range=tv")
    return [scale, ("format", f"pix_fmts={planes.FORMAT}")]


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
