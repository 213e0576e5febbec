"""What people upload: decoded in the sandbox when it comes in, kept as our own clips and pictures."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from threading import BoundedSemaphore
from typing import BinaryIO

import numpy as np
from PIL import Image

from catalog.clip_spec import ClipSpec
from pipeline.errors import BadSource
from pipeline.video.normalise import NormaliseSettings
from pipeline.video.sandbox import Sandbox
from pipeline.video.transcode import read_clip
from training.files import write_atomically

# Two frames are enough to show an effect to a person who chose this very file.
_SETTINGS = NormaliseSettings(min_frames=2, max_windows=1)
# A decoder may take two gigabytes.
_DECODERS = 2
_NAME = re.compile(r"[0-9a-f]{64}\.(mp4|png)", re.ASCII)
_DAY = 24 * 3600.0


class Uploads:
    """Files in one folder, named by whose they are and what they hold: the same upload is the same file.

    Args:
        spec: the geometry that all are brought to.
    """

    def __init__(self, folder: Path, spec: ClipSpec) -> None:
        self.folder = folder
        self.spec = spec
        self._decoders = BoundedSemaphore(_DECODERS)

    def take_reference(self, file: BinaryIO, owner: str) -> str:
        """Keep a video as its first clip; returns the name that `frames` takes.

        Raises:
            BadSource: it makes no clip; the message says why.
        """
        name = _name(file, owner, "mp4")
        if not (self.folder / name).exists():
            write_atomically(self.folder / name, self._clip(file))
        return name

    def take_first_frame(self, file: BinaryIO, owner: str) -> str:
        """Keep a picture, or the first frame of a video; returns the name that `first_frame` takes.

        Raises:
            BadSource: it is neither.
        """
        name = _name(file, owner, "png")
        if not (self.folder / name).exists():
            with self._decoders, Sandbox(self.spec, _SETTINGS) as box:
                answer = box.picture(_rewound(file))
            if answer.reason:
                raise BadSource(answer.reason)
            shown = read_clip(self._clip(file))[0] if answer.picture is None else answer.picture
            encoded = io.BytesIO()
            Image.fromarray(shown).save(encoded, "PNG")
            write_atomically(self.folder / name, encoded.getvalue())
        return name

    def frames(self, name: str) -> np.ndarray:
        """The frames of a kept clip, RGB uint8 [n, height, width, 3].

        Raises:
            BadSource: nothing of that name is kept.
        """
        return read_clip(self._bytes(name))

    def first_frame(self, name: str) -> np.ndarray:
        """A kept picture, RGB uint8 [height, width, 3]; raises BadSource where there is none."""
        with Image.open(io.BytesIO(self._bytes(name)), formats=["PNG"]) as picture:
            return np.array(picture.convert("RGB"))

    def sweep(self, named: Collection[str], older_than: float = _DAY) -> int:
        """Remove what no request names, and nobody has uploaded lately; returns how many files."""
        if not self.folder.is_dir():
            return 0
        late = time.time() - older_than
        gone = [
            file
            for file in self.folder.iterdir()
            if file.name not in named and file.is_file() and file.stat().st_mtime < late
        ]
        for file in gone:
            file.unlink(missing_ok=True)
        return len(gone)

    def _bytes(self, name: str) -> bytes:
        if not _NAME.fullmatch(name):
            raise BadSource(f"Nothing is kept under the name {name[:80]!r}.")
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError as error:
            raise BadSource("The upload is not kept any more; upload it again.") from error

    def _clip(self, file: BinaryIO) -> bytes:
        with self._decoders, Sandbox(self.spec, _SETTINGS) as box:
            answer = box.normalise(_rewound(file))
        if not answer.clips:
            raise BadSource(f"It cannot be used as a video. {answer.reason}")
        return answer.clips[0].video


def _rewound(file: BinaryIO) -> BinaryIO:
    """The same, its descriptor at its begin: a buffered `seek` may leave that where it is."""
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return file


def _name(file: BinaryIO, owner: str, kind: str) -> str:
    digest = hashlib.sha256(f"{owner}\n".encode("utf-8", "surrogatepass"))
    file.seek(0)
    while part := file.read(2**20):
        digest.update(part)
    file.seek(0)
    return f"{digest.hexdigest()}.{kind}"
