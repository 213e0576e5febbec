"""What a file says of its video: from its packets and its first frame, before anything is chosen."""

import math
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import BinaryIO

import av
import numpy as np

from pipeline.video.avread import SAME_TIME, decoded
from pipeline.video.container import identify, lacks_bytes, open_container
from pipeline.video.facts import VideoFacts
from pipeline.video.limits import DecodeLimits
from pipeline.video.rejection import Rejection

# Below this share of what the container promises, a file is a torso and not a video.
_WHOLE_ENOUGH = 0.9
# No video lasts so many seconds; times that say so are damaged.
_ABSURD = 365 * 86400.0
# Of the stated times this share must be distinct, or none of them is believed; of times that begin again in
# the middle, as where files were joined, all but a few.
_DISTINCT, _ALL_DISTINCT = 0.5, 0.98
# Frames by which a time may lie before one that was stored earlier: codecs reorder no more.
_REORDERED = 17
# Frames that tell whether a packet is a frame or a field.
_LOOKED_AT = 24
# Containers without frames of their own split or invent times; their frames are counted by decoding.
_TIMELESS = {"h264", "hevc", "m4v", "mpegvideo", "mpeg", "dv"}


@dataclass(frozen=True)
class _Packets:
    """What the packets say without decoding: times are empty where they do not tell, `read` counts all."""

    times: np.ndarray
    key_times: np.ndarray
    open_gop: bool
    read: int


def probe(file: BinaryIO, limits: DecodeLimits) -> VideoFacts:
    """What the container says, from its packets and its first frame.

    Raises:
        Rejection: no video, too large, encrypted, cut short, undecodable.
    """
    size = file.seek(0, 2)
    if size > limits.max_bytes:
        raise Rejection(*limits.too_large(size))
    name = identify(file)
    try:
        with open_container(file, name) as container:
            return _probe(file, container, name, size, limits)
    except (av.FFmpegError, PermissionError, ValueError, EOFError) as error:
        raise Rejection("damaged", f"The {name} file cannot be read: {_short(error)}.") from error


def _probe(file, container, name: str, size: int, limits: DecodeLimits) -> VideoFacts:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        raise Rejection("no_video", "The file has no video in it, only sound or a cover picture.")
    context = stream.codec_context
    if context is None:
        raise Rejection("unknown_codec", "Its video is of a kind that no decoder here knows.")
    _check_size(context.width, context.height, limits)
    packets = _packets(container, stream, limits)
    times = packets.times
    _check_length(times, limits)
    first = _first_frame(file, name, stream.index, context.codec.canonical_name)
    _check_size(first.width, first.height, limits)
    interlaced = bool(first.interlaced_frame) or context.field_order > 1
    stated = len(times) > 0
    if stated:
        _check_whole(file, container, stream, packets)
    if not stated:
        times = _counted_times(file, name, stream, limits)
        _check_length(times, limits)
    elif interlaced and _codes_fields(file, name, stream.index, times):
        times = _distinct(_decoded_times(file, name, stream, limits))
    matrix, rotation = _display_matrix(first)
    ratio = stream.sample_aspect_ratio or context.sample_aspect_ratio
    shown = _shown(times)
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
        duration=float(times[-1] - times[0]) + shown if len(times) else 0.0,
        timestamps=times,
        timestamps_stated=stated,
        stream_index=stream.index,
        interlaced=interlaced,
        open_gop=packets.open_gop,
        changes_size=(first.width, first.height) != (context.width, context.height),
        alpha_layer=stream.metadata.get("alpha_mode") == "1",
        key_times=packets.key_times if stated else np.empty(0),
        bytes=size,
    )


def _shown(times: np.ndarray) -> float:
    """How long a frame is usually shown, in seconds."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def _check_size(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        allowed = f"{limits.max_pixels} pixels are allowed"
        raise Rejection("too_many_pixels", f"Its frames are {width}x{height}; {allowed}.")


def _check_length(times: np.ndarray, limits: DecodeLimits) -> None:
    lasts = float(times[-1] - times[0]) if len(times) else 0.0
    if lasts > _ABSURD:
        raise Rejection("damaged", "Its presentation times cannot be true: they are years apart.")
    if lasts > limits.max_seconds:
        raise Rejection("too_long", f"It lasts {lasts:.0f} s; {limits.max_seconds:.0f} s are allowed.")


def _check_whole(file: BinaryIO, container, stream, packets: _Packets) -> None:
    """Refuse a torso: bytes are missing, and with them many of the frames or much of the time promised."""
    if lacks_bytes(file, container.format.name.split(",")[0]) is False:
        return
    promised = stream.frames
    if packets.read < _WHOLE_ENOUGH * promised:
        reason = f"The file is cut short: {packets.read} of {promised} frames are there."
        raise Rejection("truncated", reason)
    lasts = float(packets.times[-1] - min(packets.times[0], 0.0)) + _shown(packets.times)
    stated = _promised_seconds(container, stream)
    if stated - lasts > max(1.0, (1 - _WHOLE_ENOUGH) * stated):
        raise Rejection("truncated", f"The file is cut short: {lasts:.1f} of {stated:.1f} s are there.")


def _packets(container, stream, limits: DecodeLimits) -> _Packets:
    times, keys, open_gop, read = [], [], False, 0
    told = stream.container.format.name not in _TIMELESS
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            read += 1
            if read > limits.max_frames:
                raise Rejection("too_long", f"It has more than {limits.max_frames} frames.")
            if packet.pts is None:
                told = False
            if not told or packet.is_discard:
                continue
            time = float(packet.pts * packet.time_base)
            times.append(time)
            if packet.is_keyframe:
                keys.append(time)
            elif keys and time < keys[-1]:
                open_gop = True
    except av.FFmpegError:
        # A damaged tail: what was listed before it can still be whole enough.
        pass
    ordered = _distinct(times)
    if not told or len(ordered) < (_ALL_DISTINCT if _restarts(times) else _DISTINCT) * len(times):
        ordered = np.empty(0)
    return _Packets(ordered, np.asarray(sorted(keys)), open_gop, read)


def _promised_seconds(container, stream) -> float:
    """How long a Matroska header says the video lasts; 0 for the others, which count frames or guess."""
    if "matroska" not in container.format.name:
        return 0.0
    tag = next((value for key, value in stream.metadata.items() if key.upper().startswith("DURATION")), "")
    if found := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tag.strip()):
        hours, minutes, seconds = found.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    # Without a tag the duration is that of the longest stream.
    return container.duration / av.time_base if container.duration and len(container.streams) == 1 else 0.0


def _codes_fields(file: BinaryIO, name: str, index: int, times: np.ndarray) -> bool:
    """Whether there are more packets than frames, because each holds a field (PAFF, as camcorders write it).

    Judged by the beginning: the times of the first frames against the packets' times within them.
    """
    shown = [
        float(frame.pts * frame.time_base)
        for frame in islice(decoded(file, name, index), _LOOKED_AT)
        if frame.pts is not None
    ]
    if len(shown) < 2:
        return False
    stated = np.count_nonzero((times >= min(shown) - SAME_TIME) & (times <= max(shown) + SAME_TIME))
    return stated > 1.5 * len(shown)


def _first_frame(file: BinaryIO, name: str, index: int, codec: str) -> av.VideoFrame:
    for frame in decoded(file, name, index):
        return frame
    raise Rejection("undecodable", f"Not one frame of its {codec} video can be decoded.")


def _restarts(times: Sequence[float]) -> bool:
    """Whether stored times fall back by more than reordering explains."""
    if len(times) < 2:
        return False
    fallen = np.maximum.accumulate(times) - np.asarray(times)
    return bool(fallen.max() > _REORDERED * max(_shown(_distinct(times)), SAME_TIME))


def _distinct(times: Iterable[float | None]) -> np.ndarray:
    """Times in order, each once."""
    ordered = np.unique(np.asarray([time for time in times if time is not None], dtype=np.float64))
    return ordered[np.concatenate([[True], np.diff(ordered) > SAME_TIME])] if len(ordered) > 1 else ordered


def _decoded_times(file: BinaryIO, name: str, stream, limits: DecodeLimits) -> list[float | None]:
    """The time of every frame, by decoding everything once."""
    times: list[float | None] = []
    for frame in decoded(file, name, stream.index):
        times.append(None if frame.pts is None else float(frame.pts * frame.time_base))
        if len(times) > limits.max_frames:
            raise Rejection("too_long", f"It has more than {limits.max_frames} frames.")
    return times


def _counted_times(file: BinaryIO, name: str, stream, limits: DecodeLimits) -> np.ndarray:
    """The decoder's times where it has them, else frames counted at the stated rate."""
    times = _decoded_times(file, name, stream, limits)
    known = [time for time in times if time is not None]
    if len(known) == len(times) and all(b - a > SAME_TIME for a, b in pairwise(known)):
        return np.asarray(known)
    rate = float(stream.average_rate or stream.base_rate or 25)
    return np.arange(len(times)) / (rate if 1 <= rate <= 240 else 25.0)


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


def _short(error: Exception) -> str:
    if isinstance(error, av.InvalidDataError):
        return "its structure is damaged, or no video's"
    if isinstance(error, av.EOFError | EOFError):
        return "it ends before a video begins"
    if isinstance(error, PermissionError):
        return "it asks to open something else, which is not allowed"
    if isinstance(error, av.PatchWelcomeError):
        return "it uses a part of the format that the decoder does not know"
    return "the decoder does not understand it"
