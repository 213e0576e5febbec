"""A video as numbered pictures in a folder, as renderers and data sets of single frames write it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile

# Suffix to FFmpeg's name of the decoder.
PICTURES = {
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".tga": "targa",
    ".exr": "exr",
    ".dpx": "dpx",
}
# Pictures say nothing of time: frames a second that most such sets mean.
RATE = 24
# Fewer numbered pictures are pictures.
SHORTEST = 8
_CHUNK = 4 * 1024**2
_NOMINAL = 16


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder that are called PREFIX, a number, SUFFIX; in order of their numbers."""

    folder: Path
    prefix: str
    suffix: str

    def files(self) -> list[Path]:
        """The frames.

        Raises:
            FileNotFoundError: there are none.
        """
        named = re.compile(re.escape(self.prefix) + r"(\d+)" + re.escape(self.suffix))
        found = [(int(m[1]), file) for file in self.folder.iterdir() if (m := named.fullmatch(file.name))]
        if not found:
            raise FileNotFoundError(2, "No such pictures", f"{self.folder}/{self.prefix}…{self.suffix}")
        return [file for _, file in sorted(found)]

    def told(self) -> tuple[int, float]:
        stats = [file.stat() for file in self.files()]
        return sum(each.st_size for each in stats), max(each.st_mtime for each in stats)

    def identity(self) -> Iterator[bytes]:
        for file in self.files():
            data = file.read_bytes()
            yield len(data).to_bytes(8, "big")
            yield data

    def content(self) -> Iterator[bytes]:
        """A video of the pictures as they are: each is a packet, and none is decoded here."""
        import av

        with TemporaryFile(prefix="video2lora-") as file:
            with av.open(file, "w", format="mov") as made:
                # The size is each picture's own, which its decoder finds.
                size = {"width": _NOMINAL, "height": _NOMINAL}
                stream = made.add_mux_stream(PICTURES[self.suffix.lower()], rate=RATE, **size)
                for number, picture in enumerate(self.files()):
                    packet = av.Packet(picture.read_bytes())
                    packet.stream, packet.time_base = stream, Fraction(1, RATE)
                    packet.pts = packet.dts = number
                    packet.is_keyframe = True
                    made.mux(packet)
            file.seek(0)
            while chunk := file.read(_CHUNK):
                yield chunk


def pattern_of(prefix: str, suffix: str, names: Sequence[str]) -> str:
    """What FFmpeg calls such a sequence: `f_%04d.png`, or `f%d.png` where numbers have no leading zeros."""
    digits = {len(name) - len(prefix) - len(suffix) for name in names}
    return f"{prefix}%0{digits.pop()}d{suffix}" if len(digits) == 1 else f"{prefix}%d{suffix}"
