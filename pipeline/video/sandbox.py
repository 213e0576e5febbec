"""A killable process round the decoder: what a file does to it becomes an answer, never the caller's end."""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil

from catalog.clip_spec import ClipSpec
from catalog.vocabulary import Outcome
from pipeline.video import wire
from pipeline.video.normalise import NormalisedClip, NormaliseSettings

# A fresh process now and then gives back what decoders leak.
_FILES_PER_CHILD = 500
# What the child is asked in the place of a window.
PICTURE = "picture"
# Processor seconds that its start may take, and how many times as long by the clock on a busy machine.
_START_SECONDS, _BUSY = 60.0, 20
# So long any process may have to wait for its turn, whatever the limit.
_SHORTEST_STILL = 2.0


class SandboxBroken(RuntimeError):
    """The child does not even start: a fault of the installation, not of a file."""


@dataclass(frozen=True)
class Answer:
    """What became of one file.

    `outcome` is `normalised` (into clips, or into a picture, RGB uint8 [height, width, 3]), `rejected` (the
    file is at fault) or `quarantined` (it broke or overran its decoder); `code` and `reason` say why for the
    last two.
    """

    outcome: str
    code: str | None = None
    reason: str | None = None
    facts: dict = field(default_factory=dict)
    clips: list[NormalisedClip] = field(default_factory=list)
    picture: np.ndarray | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_mb: float = 0.0


class Sandbox:
    """Normalises files one after the other in a child process, replaced when it dies or overruns.

    Use as a context manager, or `close` it; the child also ends by itself when this process does.
    """

    def __init__(self, spec: ClipSpec, settings: NormaliseSettings):
        self.spec = spec
        self.settings = settings
        self._child: subprocess.Popen | None = None
        self._channel: socket.socket | None = None
        self._errors: BinaryIO | None = None
        self._served = 0
        self.confined = False

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def normalise(self, file: BinaryIO, window: str | None = None) -> Answer:
        """Make the clips of one open file, or of a window of it; always answers within the limits."""
        return self._asked(file, window or "")

    def _asked(self, file: BinaryIO, line: str) -> Answer:
        if self._child is None or self._child.poll() is not None or self._served >= _FILES_PER_CHILD:
            self.close()
            self._start()
        self._served += 1
        began = time.monotonic()
        try:
            self._channel.settimeout(None)
            socket.send_fds(self._channel, [line.encode() + b"\n"], [file.fileno()])
            if given_up := self._wait():
                self.close()
                return Answer(Outcome.QUARANTINED, *given_up, seconds=time.monotonic() - began)
            # It answers all at once, when it is done.
            self._channel.settimeout(self.settings.limits.longest_seconds)
            message, body = wire.receive(self._channel)
        except (wire.WireClosed, OSError):
            code, reason = self._death()
            self.close()
            return Answer(Outcome.QUARANTINED, code, reason, seconds=time.monotonic() - began)
        return _understood(message, memoryview(body))

    def picture(self, file: BinaryIO) -> Answer:
        """One open file as a picture, see `read_picture`; always answers within the limits.

        The outcome is `normalised` also where the file is no picture: then there is none.
        """
        return self._asked(file, PICTURE)

    def _wait(self) -> tuple[str, str] | None:
        """Wait for the answer; code and reason where it is not worth waiting any longer.

        Processor time counts, for on a busy machine an honest file takes long by the clock.
        """
        limits = self.settings.limits
        began = moved = time.monotonic()
        spent = before = _cpu_seconds(self._child.pid)
        while not select.select([self._channel], [], [], min(1.0, limits.decode_seconds / 4))[0]:
            now, spent_now = time.monotonic(), _cpu_seconds(self._child.pid)
            if spent_now > spent:
                spent, moved = spent_now, now
            if spent - before > limits.decode_seconds:
                return "timed_out", f"Decoding it took more than {limits.decode_seconds:g} s of a processor."
            if now - moved > (still := max(limits.decode_seconds, _SHORTEST_STILL)):
                return "machine_busy", f"Its decoder stood still for {still:g} s."
            if now - began > limits.longest_seconds:
                return "machine_busy", f"Decoding it came to no end in {limits.longest_seconds:g} s."
        return None

    def close(self) -> None:
        """End the child at once."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        for resource in (self._channel, self._errors):
            if resource is not None:
                resource.close()
        self._child = self._channel = self._errors = None
        self._served = 0

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        # Keys to a store of videos are nothing for a process that reads what strangers made.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.video.sandbox_child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=environment,
                cwd=Path("/"),
            )
        self._channel = ours
        try:
            hello = {"spec": asdict(self.spec), "settings": self.settings.model_dump()}
            wire.send(ours, hello)
            self._wait_for_start()
            ready, _ = wire.receive(ours)
        except (wire.WireClosed, TimeoutError, OSError) as error:
            said = self._last_words()
            self.close()
            raise SandboxBroken(f"The decoder process does not start: {said or error}") from error
        self.confined = ready["confined"]

    def _wait_for_start(self) -> None:
        """Wait for the child's first word; what it does is counted, not how long a busy machine keeps it.

        Raises:
            TimeoutError: it works and works, or the clock says that it never will.
        """
        began = time.monotonic()
        while not select.select([self._channel], [], [], 0.5)[0]:
            if _cpu_seconds(self._child.pid) > _START_SECONDS:
                raise TimeoutError(f"it is not ready after {_START_SECONDS:g} s of a processor")
            if time.monotonic() - began > _BUSY * _START_SECONDS:
                raise TimeoutError(
                    f"it is not ready after {_BUSY * _START_SECONDS:g} s; is the machine busy?"
                )

    def _death(self) -> tuple[str, str]:
        try:
            status = self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "crashed", "The decoder broke off."
        if status == -signal.SIGXCPU:
            return "timed_out", "Decoding it took more processor time than is allowed."
        if status < 0:
            return "crashed", f"The decoder crashed on it ({signal.Signals(-status).name})."
        said = self._last_words()
        if "MemoryError" in said or "bad_alloc" in said:
            return "too_much_memory", "Decoding it needs more memory than is allowed."
        return "crashed", f"The decoder gave up on it ({said or f'exit status {status}'})."

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else ""


def _cpu_seconds(pid: int) -> float:
    """What a process has had of processors so far; nothing more once it is gone."""
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return used.user + used.system


def _understood(message: dict, body: memoryview) -> Answer:
    for outcome in (Outcome.REJECTED, Outcome.QUARANTINED):
        if outcome in message:
            return Answer(outcome, message[outcome], message["reason"])
    if "picture" in message:
        shape = message["picture"]
        shown = np.frombuffer(body, np.uint8).reshape(*shape, 3).copy() if shape else None
        return Answer("normalised", picture=shown)
    clips, at = [], 0
    for clip in message["clips"]:
        parts = {}
        for name in ("video", "poster", "strip"):
            size = clip.pop(f"{name}_bytes")
            parts[name] = bytes(body[at : at + size])
            at += size
        clips.append(NormalisedClip(**clip, **parts))
    numbers = {name: message[name] for name in ("seconds", "cpu_seconds", "peak_rss_mb")}
    return Answer("normalised", facts=message["facts"], clips=clips, **numbers)
