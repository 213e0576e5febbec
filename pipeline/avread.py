"""Reading by PyAV: what a file says, and its frames where the fast reader is not to be trusted."""

import math
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from pipeline.container import identify, open_container
from pipeline.facts import VideoFacts
from pipeline.limits import DecodeLimits
from pipeline.plan import FitPlan
from pipeline.rejection import Rejection

# Two stated times this close are one frame's.
_SAME_TIME = 1e-4
# A seek costs a group of pictures: worth it only over a longer stretch than this.
_WORTH_SEEKING = 4.0
_SEEKABLE = {"mov", "matroska"}
# Below this share of what the container promises, a file is a torso and not a video.
_WHOLE_ENOUGH = 0.9
# Transparent pixels show this: what a player's empty screen shows.
_BEHIND = 0
# What the ffmpeg command's scale filter uses; the rounding flags make it agree on every processor.
SCALING = Interpolation.BICUBIC


def probe(file: BinaryIO, limits: DecodeLimits) -> VideoFacts:
    """What the container says, from its packets and its first frame.

    Raises:
        Rejection: no video, too large, encrypted, cut short, undecodable.
    """
    size = file.seek(0, 2)
    if size > limits.max_bytes:
        raise Rejection(
            "too_large", f"The file has {size / 1e9:.1f} GB; at most {limits.max_bytes / 1e9:.1f} GB."
        )
    name = identify(file)
    try:
        with open_container(file, name) as container:
            return _probe(file, container, name, size, limits)
    except (av.FFmpegError, PermissionError, ValueError, EOFError) as error:
        raise Rejection("unreadable", f"The {name} file cannot be read: {_short(error)}.") from error


def _probe(file, container, name: str, size: int, limits: DecodeLimits) -> VideoFacts:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        raise Rejection("no_video", "The file has no video stream.")
    context = stream.codec_context
    if context is None:
        raise Rejection("unknown_codec", "No decoder is known for the video stream.")
    width, height = context.width, context.height
    if width * height > limits.max_pixels:
        raise Rejection("too_many_pixels", f"Frames of {width}x{height} pixels; at most {limits.max_pixels}.")
    times, keys, open_gop, promised = _packet_times(container, stream, limits)
    if len(times) > 1 and times[-1] - times[0] > limits.max_seconds:
        raise Rejection(
            "too_long", f"It lasts {times[-1] - times[0]:.0f} s; at most {limits.max_seconds:.0f} s."
        )
    first = _first_frame(file, name, stream.index)
    if first.width * first.height > limits.max_pixels:
        raise Rejection(
            "too_many_pixels", f"Frames of {first.width}x{first.height}; at most {limits.max_pixels}."
        )
    stated = times is not None and len(times) > 0
    if not stated:
        times, keys = _counted_times(file, name, stream, limits), np.empty(0)
    elif promised and len(times) < _WHOLE_ENOUGH * promised:
        raise Rejection("truncated", f"The file is cut short: {len(times)} of {promised} frames are there.")
    matrix, rotation = _display_matrix(first)
    ratio = stream.sample_aspect_ratio or context.sample_aspect_ratio
    gaps = np.diff(times)
    shown = float(np.median(gaps)) if len(gaps) else 0.0
    return VideoFacts(
        container=name,
        codec=context.codec.canonical_name,
        pixel_format=first.format.name,
        width=first.width,
        height=first.height,
        aspect=float(ratio) if ratio and 0.05 < ratio < 20 else 1.0,
        rotation=rotation,
        matrix=matrix,
        fps=round(1 / shown, 4) if shown > 0 else float(stream.average_rate or 0),
        duration=float(times[-1] - times[0] + shown) if len(times) else 0.0,
        timestamps=times,
        timestamps_stated=stated,
        stream_index=stream.index,
        interlaced=bool(first.interlaced_frame) or context.field_order > 1,
        open_gop=open_gop,
        changes_size=(first.width, first.height) != (width, height),
        alpha_layer=stream.metadata.get("alpha_mode") == "1",
        key_times=keys,
        bytes=size,
    )


def _packet_times(container, stream, limits: DecodeLimits):
    """Presentation times of every shown frame without decoding; empty where packets do not tell."""
    times, keys, open_gop, key_time, complete = [], [], False, None, True
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.pts is None:
                complete = False
                break
            time = float(packet.pts * packet.time_base)
            if packet.is_keyframe:
                key_time = time
                keys.append(time)
            elif key_time is not None and time < key_time:
                open_gop = True
            times.append(time)
            if len(times) > limits.max_frames:
                raise Rejection("too_long", f"It has more than {limits.max_frames} frames.")
    except av.FFmpegError:
        # A damaged tail: what was listed before it can still be whole enough.
        pass
    # A container without frames of its own (raw streams, program streams) splits or invents times.
    if not complete or stream.container.format.name in {"h264", "hevc", "m4v", "mpegvideo", "mpeg", "dv"}:
        return np.empty(0), np.empty(0), open_gop, 0
    ordered = np.unique(np.asarray(times, dtype=np.float64))
    if len(ordered) > 1:
        ordered = ordered[np.concatenate([[True], np.diff(ordered) > _SAME_TIME])]
    if len(ordered) < len(times) * 0.98:
        return np.empty(0), np.empty(0), open_gop, 0
    return ordered, np.asarray(sorted(keys)), open_gop, _promised(stream)


def _promised(stream) -> int:
    """How many frames the header says there are, 0 where it says nothing."""
    if stream.frames:
        return stream.frames
    tag = stream.metadata.get("NUMBER_OF_FRAMES") or stream.metadata.get("NUMBER_OF_FRAMES-eng") or "0"
    return int(tag) if tag.isdigit() else 0


def _first_frame(file: BinaryIO, name: str, index: int) -> av.VideoFrame:
    for frame in _frames(file, name, index):
        return frame
    raise Rejection("undecodable", "Not one frame of the video can be decoded.")


def _frames(file: BinaryIO, name: str, index: int, start: float | None = None) -> Iterator[av.VideoFrame]:
    """Decode on past damaged packets, as players do; one thread."""
    with open_container(file, name) as container:
        stream = container.streams[index]
        _quiet(stream)
        if start is not None:
            container.seek(int(start / stream.time_base), stream=stream, backward=True)
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue


def _quiet(stream) -> None:
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"


def _counted_times(file: BinaryIO, name: str, stream, limits: DecodeLimits) -> np.ndarray:
    """Times by decoding everything once: the decoder's where it has them, else counted at the stated rate."""
    times: list[float | None] = []
    for frame in _frames(file, name, stream.index):
        times.append(None if frame.pts is None else float(frame.pts * frame.time_base))
        if len(times) > limits.max_frames:
            raise Rejection("too_long", f"It has more than {limits.max_frames} frames.")
    known = [time for time in times if time is not None]
    if len(known) == len(times) and all(b - a > _SAME_TIME for a, b in pairwise(known)):
        return np.asarray(known)
    rate = float(stream.average_rate or stream.base_rate or 25)
    return np.arange(len(times)) / (rate if 1 <= rate <= 240 else 25.0)


def read_frames(
    file: BinaryIO, facts: VideoFacts, wanted: np.ndarray, plan: FitPlan
) -> dict[int, np.ndarray]:
    """Frames by number, upright, scaled to the plan: {index: uint8 [plan.height, plan.width, 3]}.

    Raises:
        Rejection: chosen frames are missing and no neighbour within a tenth of the clip stands in.
    """
    convert = Converter(facts, plan)
    if facts.timestamps_stated:
        found = _by_time(file, facts, wanted, convert)
    else:
        found = {}
        last = int(wanted[-1])
        chosen = set(wanted.tolist())
        for number, frame in enumerate(convert.prepared(_frames(file, facts.container, facts.stream_index))):
            if number in chosen:
                found[number] = convert(frame)
            if number >= last:
                break
    return _stand_in(found, wanted)


def _by_time(
    file: BinaryIO, facts: VideoFacts, wanted: np.ndarray, convert: "Converter"
) -> dict[int, np.ndarray]:
    times = facts.timestamps
    tolerance = max(_SAME_TIME, 0.4 * float(np.diff(times).min()) if len(times) > 1 else _SAME_TIME)
    found: dict[int, np.ndarray] = {}
    for stretch in _stretches(facts, wanted):
        pending = stretch.tolist()
        start = float(times[pending[0]])
        if not _may_seek(facts) or start - times[0] < _WORTH_SEEKING:
            start = None
        for frame in convert.prepared(_frames(file, facts.container, facts.stream_index, start)):
            if frame.pts is None:
                continue
            time = float(frame.pts * frame.time_base)
            while pending and times[pending[0]] < time - tolerance:
                pending.pop(0)
            if pending and abs(times[pending[0]] - time) <= tolerance:
                found[pending.pop(0)] = convert(frame)
            if not pending:
                break
    return found


def _stretches(facts: VideoFacts, wanted: np.ndarray) -> list[np.ndarray]:
    """Split the wanted frames where jumping to a key frame beats decoding on."""
    if not _may_seek(facts):
        return [wanted]
    times, cuts = facts.timestamps[wanted], []
    for at in range(1, len(wanted)):
        key = facts.key_times[np.searchsorted(facts.key_times, times[at], side="right") - 1]
        if key - times[at - 1] > _WORTH_SEEKING:
            cuts.append(at)
    return np.split(wanted, cuts)


def _may_seek(facts: VideoFacts) -> bool:
    trusted = facts.container in _SEEKABLE and not facts.open_gop and not facts.interlaced
    return trusted and len(facts.key_times) > 0


def _stand_in(found: dict[int, np.ndarray], wanted: np.ndarray) -> dict[int, np.ndarray]:
    """Let the frame before a missing one stand for it, as a player would, if few are missing."""
    if len(found) < _WHOLE_ENOUGH * len(wanted) or not found:
        raise Rejection("damaged", f"Only {len(found)} of the {len(wanted)} chosen frames can be decoded.")
    have = np.asarray(sorted(found))
    whole = {}
    for index in wanted.tolist():
        at = max(0, int(np.searchsorted(have, index, side="right")) - 1)
        whole[index] = found[int(have[at])]
    return whole


class Converter:
    """Turns decoded frames into upright RGB pictures of the plan's size; deinterlaces where needed."""

    def __init__(self, facts: VideoFacts, plan: FitPlan):
        self.matrix = facts.matrix
        self.interlaced = facts.interlaced
        self.size = (plan.height, plan.width) if facts.turned else (plan.width, plan.height)
        self.scaler = VideoReformatter()

    def prepared(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The frames, with interlaced ones made whole by bwdif at the same times."""
        if not self.interlaced:
            yield from frames
            return
        graph = None
        for frame in frames:
            if graph is None:
                graph = _deinterlacer(frame)
            graph.push(frame)
            yield from _drain(graph)
        if graph is not None:
            graph.push(None)
            yield from _drain(graph)

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        alpha = _has_alpha(frame)
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        scaled = self.scaler.reformat(
            frame,
            *self.size,
            format="rgba" if alpha else "rgb24",
            interpolation=SCALING,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        picture = scaled.to_ndarray()
        if alpha:
            opacity = picture[..., 3:].astype(np.uint16)
            blended = picture[..., :3] * opacity + _BEHIND * (255 - opacity)
            picture = ((blended + 127) // 255).astype(np.uint8)
        return upright(picture, self.matrix)


def _has_alpha(frame: av.VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"


def _deinterlacer(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    fields = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(fields)
    fields.link_to(sink)
    graph.configure()
    return graph


def _drain(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _display_matrix(frame: av.VideoFrame) -> tuple[tuple[int, int, int, int] | None, int]:
    """The display matrix's 2x2 part, or None where it changes nothing; degrees to turn clockwise."""
    turn = round(-frame.rotation) % 360
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
        matrix = struct.unpack("=9i", bytes(data)) if data is not None else None
    except ValueError:
        # A kind of side data that PyAV has no name for yet; the angle is still told.
        a, b = round(math.cos(math.radians(turn))), round(math.sin(math.radians(turn)))
        matrix = (a, b, 0, -b, a)
    if matrix is None:
        return None, 0
    a, b, _, c, d, *_ = matrix
    if abs(a) + abs(b) == 0 or (abs(a) >= abs(b) and a > 0 and d > 0):
        return None, 0
    return (a, b, c, d), turn


def upright(picture: np.ndarray, matrix: tuple[int, int, int, int] | None) -> np.ndarray:
    """Apply a display matrix's quarter turns and mirrors: x' = a x + c y, y' = b x + d y."""
    if matrix is None:
        return picture
    a, b, c, d = matrix
    if abs(b) > abs(a):
        picture = picture.transpose(1, 0, 2)
        across, down = c, b
    else:
        across, down = a, d
    if across < 0:
        picture = picture[:, ::-1]
    if down < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _short(error: Exception) -> str:
    return (
        (getattr(error, "strerror", None) or str(error) or type(error).__name__)
        .split("\n")[0]
        .rstrip(".")
        .lower()
    )
