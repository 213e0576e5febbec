"""Writes checkpoints while training goes on: each worker its shard, the first what binds them together."""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from training.files import write_atomically, written
from training.objects import StoreError
from training.run.bucket import RunBucket
from training.run.checkpoint import (
    FORMAT,
    STATE,
    CheckpointError,
    Shard,
    checkpoint_path,
    checkpoint_step,
    digest_of,
    list_checkpoints,
    sha256,
    shard_name,
)
from training.run.team import Team

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says besides its tensors; see `Checkpoint`."""

    samples: int
    identity: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)


def write_checkpoint(
    folder: Path,
    shard: Shard,
    facts: Facts,
    team: Team | None = None,
    token: str = "alone",
    bucket: RunBucket | None = None,
) -> Path:
    """Write `folder`/step-…; every worker of the team has to call it with its own shard.

    Args:
        folder: of all checkpoints of the run.
        shard, facts: what is written.
        team: None for a worker that is alone.
        token: names the folder in which the workers meet; the same for all of them, another in each try.
        bucket: where the workers meet instead; the checkpoint is there when the bucket has all of it.

    Raises:
        CheckpointError: a worker's disk is full. Whatever went wrong, nothing is left of it.
        StoreError: the bucket does not take it; shares that it took stay, and count for nothing.
    """
    team = team or Team()
    final = checkpoint_path(folder, shard.step)
    partial = folder / f".{final.name}-{token}"
    written: str | BaseException
    try:
        written = _write_shard(partial, shard, team)
        if bucket is not None:
            bucket.put_shard(shard.step, partial / shard_name(team.rank, team.size))
    except Exception as error:  # noqa: BLE001 - told to all workers, and raised below
        written = _full(error, final) or error
    everyone = team.gather(written)
    problem = next((each for each in everyone if isinstance(each, BaseException)), None)
    if problem is None and team.rank == 0:
        try:
            _complete(partial, final, shard, facts, everyone)
            if bucket is not None:
                bucket.commit(shard.step, final / STATE)
        except (OSError, StoreError) as error:
            problem = _full(error, final) or error
    if bucket is not None:  # the workers' folders may lie on several machines
        problem = team.gather(problem)[0]
        if team.rank:
            shutil.rmtree(partial, ignore_errors=True)
    if problem is not None:
        if team.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
        raise problem
    return final


def _write_shard(partial: Path, shard: Shard, team: Team) -> str:
    """Write one worker's file; returns its checksum."""
    path = partial / shard_name(team.rank, team.size)
    with written(path) as file:
        save_file(dict(shard.values), file, metadata={"starts": json.dumps(dict(shard.starts))})
    return sha256(path)


def _complete(partial: Path, final: Path, shard: Shard, facts: Facts, checksums: list[str]) -> None:
    """Write what says which files belong together, and give the folder its name."""
    state = {
        "format": FORMAT,
        "step": shard.step,
        "samples": facts.samples,
        "identity": facts.identity,
        "settings": facts.settings,
        "shapes": {name: list(shape) for name, shape in shard.shapes.items()},
        "files": {shard_name(worker, len(checksums)): each for worker, each in enumerate(checksums)},
    }
    # As it will be read: JSON knows no tuples and no numbers as keys.
    state = json.loads(json.dumps(state))
    write_atomically(partial / STATE, json.dumps(state | {"sha256": digest_of(state)}, indent=1))
    _flush(partial)
    if final.exists():  # written by a worker that was lost before it could say so
        shutil.rmtree(final)
    partial.rename(final)
    _flush(final.parent)


class CheckpointWriter:
    """Writes checkpoints of one run in a background thread, one at a time, and prunes old ones.

    Args:
        folder: where the step folders lie.
        keep_last: the newest ones that are kept.
        keep_every: those whose step is a multiple of it are kept as well.
        allowed: called before anything is written; may raise to say that this run lost its folder.
        team: the workers, every one of which has a writer; None for one that is alone.
        token: the same for all of them, another after each restart.
        bucket: see `write_checkpoint`.
    """

    def __init__(
        self,
        folder: Path,
        keep_last: int,
        keep_every: int | None = None,
        allowed: Callable[[], None] = lambda: None,
        team: Team | None = None,
        token: str = "alone",
        bucket: RunBucket | None = None,
    ):
        self._folder, self._keep_last, self._keep_every = folder, keep_last, keep_every
        self._allowed, self._team, self._token = allowed, team or Team(), token
        self._bucket = bucket
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        if self._team.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".step-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        self._team.gather(None)  # nobody writes before the leftovers are gone

    def save(self, shard: Shard, facts: Facts) -> None:
        """Begin to write; waits first for the one before, and raises what it raised."""
        self.wait()
        # As a daemon: where another worker was lost it waits for that one, and must not keep this one alive.
        self._thread = threading.Thread(target=self._write, args=(shard, facts), name="save", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what the last writing raised, if it has ended."""
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Return when everything saved so far is on disk."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def _write(self, shard: Shard, facts: Facts) -> None:
        try:
            self._allowed()
            write_checkpoint(self._folder, shard, facts, self._team, self._token, self._bucket)
            if self._team.rank == 0:
                self._prune()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that trains
            self._error = error

    def _prune(self) -> None:
        for path in list_checkpoints(self._folder)[: -self._keep_last]:
            if self._too_old(checkpoint_step(path)):
                shutil.rmtree(path)
        if self._bucket is not None:
            self._bucket.forget(
                step for step in self._bucket.steps()[: -self._keep_last] if self._too_old(step)
            )

    def _too_old(self, step: int) -> bool:
        return not self._keep_every or step % self._keep_every != 0


def disk_full(error: BaseException) -> bool:
    """Whether an error says that a disk, a quota or a file-size limit is reached."""
    if isinstance(error, SafetensorError):  # it tells the number in words
        return any(f"os error {number})" in str(error) for number in FULL)
    return isinstance(error, OSError) and error.errno in FULL


def _full(error: BaseException, final: Path) -> CheckpointError | None:
    """The sentence for a person, where the disk is full."""
    if not disk_full(error):
        return None
    before = list_checkpoints(final.parent)
    good = f"The last one is of step {checkpoint_step(before[-1])}" if before else "There is none before it"
    free = shutil.disk_usage(final.parent).free
    return CheckpointError(
        f"The checkpoint of step {checkpoint_step(final)} could not be written: the disk of {final.parent} is"
        f" full ({free / 1e9:.1f} GB free). {good}; make room and run the same command again."
    )


def _flush(folder: Path) -> None:
    """Have the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
