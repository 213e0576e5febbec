"""The folder of a training run: where things lie, who may write, how the run ended.

    checkpoints/step-…/     see checkpoint.py
    metrics.jsonl           one row per logged step
    tensorboard/            the same, as curves
    samples/step-…/         videos generated from held-out pairs after that step
    outcome.json            what stopped the run for good, if something did
    owner                   token of the worker group that writes now
    driver                  who trains here; locked by that process while it does
    attempt                 the call of `train` that goes on; its workers look whether they see it
    stop                    the attempt whose workers are asked to save and end

On a cluster the folder is on storage that every worker and the driver share, or it has a copy in a bucket
that counts instead; see bucket.py.
"""

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from training.copied import Copied
from training.errors import TrainingError
from training.files import write_atomically
from training.objects import Faltered, StoreError
from training.run.bucket import RunBucket
from training.run.checkpoint import checkpoint_path, checkpoint_step, list_checkpoints, newest_checkpoint


class LostRun(RuntimeError):
    """Another worker group has taken over this run: a restart, while this process was thought dead."""


class RunBusy(TrainingError):
    """Another process trains in this folder."""


class FolderUnseen(TrainingError):
    """A machine of the cluster does not see the folder of the run."""


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
        bucket: the copy that counts, where workers share no disk; None where the folder itself does.
    """

    path: Path
    attempt: str
    bucket: RunBucket | None = None

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
            write_atomically(self.path / "attempt", self.attempt)
            if self.bucket is not None:  # whoever begins last goes on; another one's workers see it
                self.bucket.write("owner", self.attempt)
            yield
            file.truncate(0)

    def require_seen(self) -> None:
        """See that this machine sees what the driver's does: one that came later was looked at by nobody.

        Without it a worker there would find no checkpoint, and all of them would begin anew. Where a bucket
        has the copy that counts, there is nothing to see.

        Raises:
            FolderUnseen: it does not.
        """
        if self.bucket is not None:
            return
        try:
            seen = (self.path / "attempt").read_text() == self.attempt
        except OSError:
            seen = False
        if not seen:
            raise FolderUnseen(
                f"Machine {socket.gethostname()} does not see {self.path}; put it on storage that all"
                " machines share, under the same path, or take that machine out of the cluster."
            )

    def ask_to_stop(self) -> None:
        """Have the workers of this attempt save what they have and end."""
        write_atomically(self.path / "stop", self.attempt)
        if self.bucket is not None:
            self.bucket.write("stop", self.attempt)

    def asked_to_stop(self, everywhere: bool = False) -> bool:
        """Whether they are; `everywhere` looks into the bucket too."""
        try:
            here = (self.path / "stop").read_text() == self.attempt
        except FileNotFoundError:
            here = False
        afar = self.bucket is not None and everywhere and not here
        return here or (afar and self.bucket.read("stop") == self.attempt)

    def claim(self) -> str:
        """Make the caller the only one that may write; returns the token that says so."""
        token = uuid.uuid4().hex
        write_atomically(self.path / "owner", token)
        if self.bucket is not None:
            self._check_attempt(self.bucket)
            self.bucket.write("owner", f"{self.attempt} {token}")
        return token

    def check_owner(self, token: str) -> None:
        """Raise LostRun when somebody else has claimed the folder since."""
        if (self.path / "owner").read_text() != token:
            raise LostRun(f"{self.path} is written by a newer worker group; this one stops.")

    def check_writer(self, token: str) -> None:
        """The same, asked of the copy that counts, before a checkpoint becomes part of it.

        Raises:
            RunBusy: another process has begun to train this run.
        """
        if self.bucket is None:
            self.check_owner(token)
        elif self._check_attempt(self.bucket) != f"{self.attempt} {token}":
            raise LostRun(f"{self.bucket.uri} is written by a newer worker group; this one stops.")

    def _check_attempt(self, bucket: RunBucket) -> str:
        owner = bucket.read("owner") or ""
        if owner.partition(" ")[0] != self.attempt:
            raise RunBusy(
                f"{bucket.uri} is being trained by another process, which began after this one and goes on"
                " with what it has saved; this one stops."
            )
        return owner

    def fetch(self) -> None:
        """Have here what the bucket has of this run: its rows, and its newest checkpoint."""
        if self.bucket is not None:
            self.bucket.fetch_files(self.path)
            self.bucket.fetch_newest(self.checkpoints)

    def saved_steps(self) -> list[int]:
        """Of the checkpoints that look complete, ascending."""
        if self.bucket is not None:
            return self.bucket.steps()
        return [checkpoint_step(path) for path in list_checkpoints(self.checkpoints)]

    def checkpoint(self, step: int) -> Path:
        """The folder of one of them on this machine."""
        if self.bucket is not None:
            return self.bucket.fetch_checkpoint(step, self.checkpoints)
        return checkpoint_path(self.checkpoints, step)

    def newest_good(self) -> Path | str | None:
        """Where the newest checkpoint lies, for a person."""
        if self.bucket is None:
            return newest_checkpoint(self.checkpoints)
        steps = self.bucket.steps()
        return checkpoint_path(Path(), steps[-1]).name + f" in {self.bucket.uri}" if steps else None

    def hand_in(self, made: Path) -> None:
        """Let the first worker see what this one wrote in a folder of the run."""
        if self.bucket is not None:
            Copied(made, f"{self.bucket.uri}/{made.relative_to(self.path).as_posix()}").put()

    def handed_in(self, made: Path) -> None:
        """Have here what all workers wrote in a folder of the run."""
        if self.bucket is not None:
            self.bucket.fetch_folder(made.relative_to(self.path).as_posix(), made)

    def stop(self, error: TrainingError | Broken) -> None:
        """Record that the run cannot go on, so that a restarted worker group does not try again."""
        outcome = {
            "attempt": self.attempt,
            "kind": _name(type(error)),
            "message": str(error),
        }
        write_atomically(self.path / "outcome.json", json.dumps(outcome))
        if self.bucket is not None and not isinstance(error, RunBusy):
            # A bucket that takes nothing any more is told to the driver by what the worker raises.
            with suppress(StoreError, Faltered):
                self.bucket.write("outcome.json", json.dumps(outcome))

    def stopped(self) -> TrainingError | Broken | None:
        """What stopped this attempt for good."""
        outcome = self._outcome()
        if outcome is None:
            return None
        kinds = [Broken, *_kinds(TrainingError)]
        kind = next((kind for kind in kinds if _name(kind) == outcome["kind"]), TrainingError)
        return kind(outcome["message"])

    def _outcome(self) -> dict[str, str] | None:
        path = self.path / "outcome.json"
        told = json.loads(path.read_text()) if path.exists() else None
        if (told is None or told["attempt"] != self.attempt) and self.bucket is not None:
            told = json.loads(self.bucket.read("outcome.json") or "null")
        return told if told is not None and told["attempt"] == self.attempt else None


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _kinds(root: type[TrainingError]) -> list[type[TrainingError]]:
    """The class and its subclasses, as far as this process has imported them."""
    return [root, *(kind for child in root.__subclasses__() for kind in _kinds(child))]
