"""H.264 whose every field is a picture of its own (PAFF), as camcorders write it and no encoder here does.

Written bit by bit, all macroblocks uncompressed (I_PCM): two fields of a flat grey each make a frame.
"""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

# Macroblocks of a field: 6 x 3, a picture of 96 x 96.
_ACROSS, _DOWN = 6, 3


class _Bits:
    def __init__(self) -> None:
        self.text = ""

    def u(self, value: int, count: int) -> "_Bits":
        self.text += f"{value:0{count}b}" if count else ""
        return self

    def ue(self, *values: int) -> "_Bits":
        """Exp-Golomb codes, which begin with as many zeros as follow bits."""
        for value in values:
            self.u(value + 1, 2 * (value + 1).bit_length() - 1)
        return self

    def aligned(self) -> "_Bits":
        return self.u(0, -len(self.text) % 8)

    def payload(self) -> bytes:
        self.u(1, 1).aligned()
        return int(self.text, 2).to_bytes(len(self.text) // 8, "big")


def _unit(kind: int, bits: _Bits) -> bytes:
    """A NAL unit; three bytes that look like its end are kept apart by a 3."""
    escaped, zeros = bytearray(), 0
    for byte in bits.payload():
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([kind]) + bytes(escaped)


def _sequence() -> bytes:
    # Main profile, level 3; order count of type 2; fields allowed.
    bits = _Bits().u(77, 8).u(0, 8).u(30, 8).ue(0, 4, 2, 1).u(0, 1).ue(_ACROSS - 1, _DOWN - 1)
    return _unit(0x67, bits.u(0, 1).u(0, 1).u(1, 1).u(0, 1).u(0, 1))


def _picture() -> bytes:
    bits = _Bits().ue(0, 0).u(0, 1).u(0, 1).ue(0, 0, 0).u(0, 1).u(0, 2)
    return _unit(0x68, bits.ue(0, 0, 0).u(0, 1).u(0, 1).u(0, 1))


def _field(number: int, bottom: bool, grey: int) -> bytes:
    """An intra-coded field; the first of a stream begins it anew."""
    first = number == 0 and not bottom
    bits = _Bits().ue(0, 7, 0).u(number % 256, 8).u(1, 1).u(bottom, 1)
    if first:
        bits.ue(0)
    bits.u(0, 1).u(0, 1) if first else bits.u(0, 1)
    bits.ue(0)
    for _ in range(_ACROSS * _DOWN):
        bits.ue(25).aligned().text += f"{grey:08b}" * 256 + f"{128:08b}" * 128
    return _unit(0x65 if first else 0x61, bits)


def field_coded(path: Path, greys: Sequence[int], fps: int = 25) -> Path:
    """Write a frame of each grey, in a packet for each of its fields, at times half a frame apart."""
    stream = b"".join(
        (_sequence() + _picture() if number == 0 and not bottom else b"") + _field(number, bottom, grey)
        for number, grey in enumerate(greys)
        for bottom in (False, True)
    )
    with av.open(io.BytesIO(stream), format="h264") as raw, av.open(str(path), "w") as container:
        template = raw.streams.video[0]
        video = container.add_stream_from_template(template)
        video.time_base = Fraction(1, 2 * fps)
        for at, packet in enumerate(packet for packet in raw.demux(template) if packet.size):
            packet.stream = video
            packet.time_base, packet.pts, packet.dts = Fraction(1, 2 * fps), at, at
            packet.duration = 1
            container.mux(packet)
    return path
