"""A run's folder in a bucket: what its workers, and whoever goes on with it, share where they share no disk.

    checkpoints/step-…/shard-…      as on disk, see checkpoint.py
    checkpoints/step-…/state.json   written last and removed first: with it the checkpoint is there
    owner                           who may write: an attempt, and the newest group of its workers
    metrics.jsonl, tensorboard/ …   as they were when the newest checkpoint was written, or later

The folder on a machine's disk is a copy: a checkpoint that is not in the bucket does not count.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import objects
from training.files import write_atomically
from training.run.checkpoint import (
    STATE,
    CheckpointError,
    checkpoint_path,
    checkpoint_step,
    list_checkpoints,
    read_state,
    sha256,
)

CHECKPOINTS = "checkpoints"
# What belongs to a machine or to an attempt and is not copied.
OWN = {CHECKPOINTS, "ray", "owner", "driver", "stop", "outcome.json"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunBucket:
    """The copy of one run's folder that counts; `uri` is its address."""

    uri: str

    def read(self, name: str) -> str | None:
        """A small file; None where there is none."""
        found = objects.read(self._of(name))
        return None if found is None else found.decode("utf-8")

    def write(self, name: str, text: str) -> None:
        """Replace a small file as a whole."""
        objects.put(text.encode("utf-8"), self._of(name))

    def steps(self) -> list[int]:
        """Of its checkpoints, ascending."""
        return [step for step, names in sorted(self._objects().items()) if STATE in names]

    def fetch_checkpoint(self, step: int, folder: Path) -> Path:
        """Copy a checkpoint into `folder`; files that are there with the right content are left as they are.

        What the bucket lacks stays away, and `read_state` says so.
        """
        path, place = checkpoint_path(folder, step), self._step(step)
        state = objects.read(f"{place}/{STATE}")
        if state is None:
            (path / STATE).unlink(missing_ok=True)
            return path
        for name, digest in _named(state).items():
            here = path / name
            if not here.is_file() or sha256(here) != digest:
                try:
                    objects.fetch(f"{place}/{name}", here)
                except FileNotFoundError:
                    here.unlink(missing_ok=True)
        self._keep_state(path, step, state)
        return path

    def fetch_state(self, folder: Path) -> dict[str, Any] | None:
        """Copy what the newest checkpoint says of itself; None where there is none that can be read."""
        for step in reversed(self.steps()):
            state = objects.read(f"{self._step(step)}/{STATE}")
            if state is not None:
                try:
                    told = json.loads(state)
                except ValueError:
                    continue
                self._keep_state(checkpoint_path(folder, step), step, state)
                return told
        return None

    def fetch_newest(self, folder: Path) -> Path | None:
        """Copy the newest checkpoint that is whole into `folder`, and remove there what the bucket lacks."""
        steps = self.steps()
        for path in list_checkpoints(folder):
            if checkpoint_step(path) not in steps:
                shutil.rmtree(path)
        for step in reversed(steps):
            path = self.fetch_checkpoint(step, folder)
            try:
                read_state(path)
            except CheckpointError as error:
                logger.warning("%s Skipped: taking the one before.", error)
                continue
            return path
        return None

    def put_shard(self, step: int, file: Path) -> None:
        """Copy one worker's share of a checkpoint."""
        objects.put(file, f"{self._step(step)}/{file.name}")

    def commit(self, step: int, state: Path) -> None:
        """Copy what makes a checkpoint of the shares, all of which are there."""
        objects.put(state, f"{self._step(step)}/{STATE}")

    def put_checkpoint(self, path: Path) -> None:
        """Copy a whole checkpoint."""
        for file in sorted(path.glob("shard-*")):
            self.put_shard(checkpoint_step(path), file)
        self.commit(checkpoint_step(path), path / STATE)

    def forget_after(self, step: int) -> None:
        """Remove what there is of later checkpoints: those steps are taken, and written, anew."""
        self._forget({later: names for later, names in self._objects().items() if later > step})

    def forget(self, steps: Iterable[int]) -> None:
        """Remove checkpoints."""
        found = self._objects()
        self._forget({step: found.get(step, set()) for step in steps})

    def fetch_files(self, folder: Path) -> None:
        """Copy the files at the top of the run's folder: its rows, its snapshot, what it continues."""
        for name in objects.listed(self.uri):
            if "/" not in name and name not in OWN:
                objects.fetch(self._of(name), folder / name)

    def fetch_folder(self, name: str, folder: Path) -> None:
        """Copy what other machines wrote below a folder of the run, `folder` here."""
        for file in objects.listed(self._of(name)):
            if not (folder / file).exists():
                objects.fetch(self._of(f"{name}/{file}"), folder / file)

    def _keep_state(self, path: Path, step: int, state: bytes) -> None:
        """Here it is as old as there: of several runs the one that wrote last is gone on with."""
        write_atomically(path / STATE, state)
        if (known := objects.known(f"{self._step(step)}/{STATE}")) is not None:
            os.utime(path / STATE, ns=(known.mtime_ns, known.mtime_ns))

    def _of(self, name: str) -> str:
        return f"{self.uri}/{name}"

    def _step(self, step: int) -> str:
        return self._of(f"{CHECKPOINTS}/{checkpoint_path(Path(), step).name}")

    def _objects(self) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for name in objects.listed(self._of(CHECKPOINTS)):
            folder, _, file = name.partition("/")
            if folder.startswith("step-") and folder[5:].isdecimal():
                found.setdefault(int(folder[5:]), set()).add(file)
        return found

    def _forget(self, found: dict[int, set[str]]) -> None:
        for step, names in found.items():
            for name in sorted(names, key=lambda name: name != STATE):
                objects.remove(f"{self._step(step)}/{name}")


def _named(state: bytes) -> dict[str, str]:
    """The files that a state.json names, by name their checksums; none where it cannot be read."""
    try:
        files = dict(json.loads(state)["files"])
    except (ValueError, KeyError, TypeError):
        return {}
    # Any other name could lead out of the folder; `read_state` refuses it.
    return {name: digest for name, digest in files.items() if name.startswith("shard-") and "/" not in name}
