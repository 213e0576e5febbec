"""Reading by PyAV: right about everything that FFmpeg is right about, and without a way through RGB."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import av
import numpy as np

from catalog.clip_spec import ClipSpec
from pipeline.video.container import open_container
from pipeline.video.convert import Converter
from pipeline.video.facts import VideoFacts
from pipeline.video.plan import FitPlan
from pipeline.video.rejection import Rejection

# Two stated times this close are one frame's.
SAME_TIME = 1e-4
# A seek costs a group of pictures: worth it only over a longer stretch than this, in seconds.
_WORTH_SEEKING = 4.0
_SEEKABLE = {"mov", "matroska"}
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# With fewer of the chosen frames than this, of a damaged file, a clip would be made of stand-ins.
_WHOLE_ENOUGH = 0.9


@dataclass
class Damage:
    """What was wrong while a file was decoded: packets that failed, and the chosen frames that are broken.

    A broken frame is one that the decoder patched up or that stands for one it could not make.
    """

    packets: int = 0
    frames: set[int] = field(default_factory=set)


def decoded(
    file: BinaryIO,
    name: str,
    index: int,
    start: float | None = None,
    alpha: bool = False,
    damage: Damage | None = None,
) -> Iterator[av.VideoFrame]:
    """Decode on past damaged packets, as players do; one thread.

    Args:
        name, index: container and stream.
        start: seconds; begin with the last key frame before.
        alpha: VP8 and VP9 keep transparency in a layer beside, which only libvpx reads.
        damage: counts the packets that fail.
    """
    damage = damage or Damage()
    with open_container(file, name) as container:
        stream = container.streams[index]
        decoder = stream.codec_context
        if alpha and decoder.codec.canonical_name in _ALPHA_DECODERS:
            decoder = av.CodecContext.create(_ALPHA_DECODERS[decoder.codec.canonical_name], "r")
        decoder.thread_count = 1
        decoder.thread_type = "NONE"
        if start is not None:
            container.seek(int(start / stream.time_base), stream=stream, backward=True)
        for packet in _packets(container, stream, damage):
            try:
                frames = decoder.decode(packet)
            except av.MemoryError as error:
                raise MemoryError from error
            except av.EOFError:
                continue
            except av.FFmpegError:
                damage.packets += 1
                continue
            for frame in frames:
                frame.time_base = stream.time_base
                yield frame


def _packets(container, stream, damage: Damage) -> Iterator[av.Packet]:
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        damage.packets += 1  # a damaged tail


def read_frames(
    file: BinaryIO, facts: VideoFacts, wanted: np.ndarray, plan: FitPlan, spec: ClipSpec
) -> tuple[dict[int, np.ndarray], set[int]]:
    """Frames by number, upright, in the clip's window, as `planes`: {index: uint8 [height * 3 / 2, width]};
    and the numbers of those that are broken.

    Raises:
        Rejection: the file is damaged and fewer than nine tenths of the chosen frames can be decoded.
    """
    convert, damage = Converter(facts, plan, spec), Damage()
    found = _by_time(file, facts, wanted, convert, damage) if facts.timestamps_stated else {}
    if len(found) < len(wanted):
        # The decoder's times are not the packets' (old AVI), or there are none: go by number, once more.
        again = Damage()
        counted = _by_number(file, facts, wanted, Converter(facts, plan, spec), again)
        if len(counted) > len(found):
            found, damage = counted, again
    return _stand_in(found, wanted, damage)


def _by_number(
    file: BinaryIO, facts: VideoFacts, wanted: np.ndarray, convert: Converter, damage: Damage
) -> dict[int, np.ndarray]:
    chosen, last = set(wanted.tolist()), int(wanted[-1])
    found: dict[int, np.ndarray] = {}
    frames = decoded(file, facts.container, facts.stream_index, alpha=facts.alpha_layer, damage=damage)
    for number, frame in enumerate(convert.prepared(frames)):
        if number in chosen:
            found[number] = convert(frame)
            if frame.is_corrupt:
                damage.frames.add(number)
        if number >= last:
            break
    return found


def _by_time(
    file: BinaryIO, facts: VideoFacts, wanted: np.ndarray, convert: Converter, damage: Damage
) -> dict[int, np.ndarray]:
    times = facts.timestamps
    tolerance = max(SAME_TIME, 0.4 * float(np.diff(times).min()) if len(times) > 1 else SAME_TIME)
    found: dict[int, np.ndarray] = {}
    for stretch in _stretches(facts, wanted):
        pending = stretch.tolist()
        start = float(times[pending[0]])
        if not _may_seek(facts) or start - times[0] < _WORTH_SEEKING:
            start = None
        for frame in convert.prepared(
            decoded(file, facts.container, facts.stream_index, start, facts.alpha_layer, damage)
        ):
            if frame.pts is None:
                continue
            time = float(frame.pts * frame.time_base)
            while pending and times[pending[0]] < time - tolerance:
                pending.pop(0)
            if pending and abs(times[pending[0]] - time) <= tolerance:
                found[pending[0]] = convert(frame)
                if frame.is_corrupt:
                    damage.frames.add(pending[0])
                pending.pop(0)
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


def _stand_in(
    found: dict[int, np.ndarray], wanted: np.ndarray, damage: Damage
) -> tuple[dict[int, np.ndarray], set[int]]:
    """Let the frame before a missing one stand for it, as players do.

    Where no packet failed that is what the file says: a packet without a picture repeats the one before.
    """
    if not found or (damage.packets and len(found) < _WHOLE_ENOUGH * len(wanted)):
        raise Rejection("damaged", f"Only {len(found)} of the {len(wanted)} chosen frames can be decoded.")
    have = np.asarray(sorted(found))
    whole = {}
    for index in wanted.tolist():
        at = max(0, int(np.searchsorted(have, index, side="right")) - 1)
        whole[index] = found[int(have[at])]
    held = set(wanted.tolist()) - set(found) if damage.packets else set()
    return whole, damage.frames | held
