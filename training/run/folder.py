"""The folder of a training run: where things lie, who may write, how the run ended.

    checkpoints/step-…/     see checkpoint.py
    metrics.jsonl           one row per logged step
    tensorboard/            the same, as curves
    samples/step-…/         videos generated from held-out pairs after that step
    outcome.json            what stopped the run for good, if something did
    owner                   token of the worker group that writes now
    driver                  who trains here; locked by that process while it does
    stop                    the attempt whose workers are asked to save and end

On a cluster the folder is on storage that every worker and the driver share.
"""

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from training.errors import TrainingError
from training.files import write_atomically


class LostRun(RuntimeError):
    """Another worker group has taken over this run: a restart, while this process was thought dead."""


class RunBusy(TrainingError):
    """Another process trains in this folder."""


class Diverged(TrainingError):
    """The loss or a gradient is not finite, or the gradient norm exploded."""


class Broken(RuntimeError):
    """A worker met a bug: what it raised, with its traceback. The same steps would meet it again."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Attributes:
        path: where it is.
        attempt: one call of `train`; an outcome of an earlier call does not count.
    """

    path: Path
    attempt: str

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def samples(self, step: int) -> Path:
        """Where the videos of one step lie."""
        return self.path / "samples" / f"step-{step:08d}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else trains in this folder while the block runs.

        The lock is the operating system's: it ends with the process, however that ends.

        Raises:
            RunBusy: another process does, and who.
        """
        with (self.path / "driver").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise RunBusy(
                    f"{self.path} is being trained by {file.read() or 'another process'}. Wait for it: the"
                    " same command then goes on with what it leaves, or finds it finished."
                ) from error
            file.truncate(0)
            now = datetime.now().astimezone()
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {now:%Y-%m-%d %H:%M %Z}")
            file.flush()
            yield
            file.truncate(0)

    def ask_to_stop(self) -> None:
        """Have the workers of this attempt save what they have and end."""
        write_atomically(self.path / "stop", self.attempt)

    def asked_to_stop(self) -> bool:
        """Whether they are."""
        try:
            return (self.path / "stop").read_text() == self.attempt
        except FileNotFoundError:
            return False

    def claim(self) -> str:
        """Make the caller the only one that may write; returns the token that says so."""
        token = uuid.uuid4().hex
        write_atomically(self.path / "owner", token)
        return token

    def check_owner(self, token: str) -> None:
        """Raise LostRun when somebody else has claimed the folder since."""
        if (self.path / "owner").read_text() != token:
            raise LostRun(f"{self.path} is written by a newer worker group; this one stops.")

    def stop(self, error: TrainingError | Broken) -> None:
        """Record that the run cannot go on, so that a restarted worker group does not try again."""
        outcome = {
            "attempt": self.attempt,
            "kind": _name(type(error)),
            "message": str(error),
        }
        write_atomically(self.path / "outcome.json", json.dumps(outcome))

    def stopped(self) -> TrainingError | Broken | None:
        """What stopped this attempt for good."""
        try:
            outcome = json.loads((self.path / "outcome.json").read_text())
        except FileNotFoundError:
            return None
        if outcome["attempt"] != self.attempt:
            return None
        kinds = [Broken, *_kinds(TrainingError)]
        kind = next((kind for kind in kinds if _name(kind) == outcome["kind"]), TrainingError)
        return kind(outcome["message"])


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _kinds(root: type[TrainingError]) -> list[type[TrainingError]]:
    """The class and its subclasses, as far as this process has imported them."""
    return [root, *(kind for child in root.__subclasses__() for kind in _kinds(child))]
