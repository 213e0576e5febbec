"""Checkpoints: a folder per saved step, one file of each worker's share, verified when they are read.

    step-00000100/
        shard-00000-of-00002.safetensors   fp32 masters, Adam's moments, the moving average where there is one
        shard-00001-of-00002.safetensors   ("master/<name>", "exp_avg/<name>", …): flat pieces of each tensor
        state.json                         step, samples consumed, identity, configuration, every tensor's
                                           shape, checksum of every file

`state.json` is written last and the folder gets its name after it: that decides whether the checkpoint is
there. The pieces say where in their tensor they begin, so any number of workers under any ZeRO stage goes on
from them, each reading what it needs. Nothing is pickled.
"""

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from training.errors import TrainingError

FORMAT = 2
STATE = "state.json"
# What state.json has at least; keys that a later version adds are read past.
KEYS = {"format", "step", "samples", "identity", "settings", "shapes", "files"}
logger = logging.getLogger(__name__)


class CheckpointError(TrainingError):
    """A checkpoint that is torn, corrupt, belongs to another model or cannot be written."""


@dataclass(frozen=True)
class Shard:
    """One worker's share of the state of a run; fp32, on the CPU.

    Attributes:
        step: optimizer steps done.
        shapes: of every trainable tensor, whoever holds it.
        starts: by name, where in the flattened tensor this worker's values begin.
        values: "<kind>/<name>" → [n]; kinds are "master", "exp_avg", "exp_avg_sq" and perhaps "ema".
    """

    step: int
    shapes: Mapping[str, tuple[int, ...]]
    starts: Mapping[str, int]
    values: Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """What a run goes on from. Tensors are read when they are asked for.

    Attributes:
        path: the step's folder.
        state: the verified content of `state.json`.
    """

    path: Path
    state: dict

    @property
    def step(self) -> int:
        return self.state["step"]

    @property
    def samples(self) -> int:
        """Global sample numbers consumed."""
        return self.state["samples"]

    @property
    def identity(self) -> dict:
        """Which method, backbone and data the tensors belong to."""
        return self.state["identity"]

    @property
    def settings(self) -> dict:
        """The resolved configuration of the run that wrote it."""
        return self.state["settings"]

    @property
    def kinds(self) -> set[str]:
        """What is there of each tensor: "master", "exp_avg", …"""
        return {kind for kind, _ in self._pieces}

    def values(self, kind: str, name: str, start: int, stop: int) -> Tensor:
        """Values start to stop of a flattened tensor, fp32 [stop - start].

        Raises:
            CheckpointError: they are not in the checkpoint.
        """
        out = torch.empty(stop - start)
        found = 0
        for begin, end, file in self._pieces.get((kind, name), ()):
            low, high = max(begin, start), min(end, stop)
            if low < high:
                piece = self._files[file].get_slice(f"{kind}/{name}")[low - begin : high - begin]
                out[low - start : high - start] = piece
                found += high - low
        if found != stop - start:
            raise CheckpointError(
                f"{self.path} holds {found} of {stop - start} values of {kind!r} of {name!r}: it belongs to"
                " another model, or was not written by this version."
            )
        return out

    def tensor(self, kind: str, name: str) -> Tensor:
        """One whole tensor, fp32; raises CheckpointError when it is not there."""
        shape = self.state["shapes"].get(name, [])
        return self.values(kind, name, 0, math.prod(shape)).view(shape)

    def tensors(self, kind: str) -> dict[str, Tensor]:
        """All tensors of a kind, by name."""
        return {name: self.tensor(kind, name) for name in self.state["shapes"]}

    @cached_property
    def _files(self) -> dict[str, safe_open]:
        return {name: _opened(self.path / name) for name in self.state["files"]}

    @cached_property
    def _pieces(self) -> dict[tuple[str, str], list[tuple[int, int, str]]]:
        """(kind, name) → where its pieces begin and end, and in which file."""
        pieces: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
        for name, file in self._files.items():
            starts = json.loads((file.metadata() or {}).get("starts", "{}"))
            for key in file.keys():  # noqa: SIM118 - not a dictionary
                kind, _, tensor = key.partition("/")
                if tensor not in starts:
                    raise CheckpointError(f"{self.path / name} holds {key!r}, which no run's state has.")
                length = file.get_slice(key).get_shape()[0]
                pieces.setdefault((kind, tensor), []).append((starts[tensor], starts[tensor] + length, name))
        return pieces


def read_checkpoint(path: Path) -> Checkpoint:
    """Everything a run goes on from.

    Raises:
        CheckpointError: see `read_state`.
    """
    return Checkpoint(path, read_state(path))


def read_model(path: Path, ema: bool = True) -> dict[str, Tensor]:
    """The trainable tensors of a checkpoint, fp32; averaged ones where there are any and `ema` is true.

    Raises:
        CheckpointError: see `read_state`.
    """
    checkpoint = read_checkpoint(path)
    return checkpoint.tensors("ema" if ema and "ema" in checkpoint.kinds else "master")


def read_state(path: Path, part: slice = slice(None)) -> dict:
    """The verified `state.json` of a checkpoint.

    Args:
        path: the step's folder.
        part: of its files in the order of their names, whose checksums are verified; the others are there.

    Raises:
        CheckpointError: a file is missing, torn or altered, or of a format that this version does not read.
    """
    try:
        state = json.loads((path / STATE).read_text())
        digest = state.pop("sha256")
        files = dict(state["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has no readable {STATE}: the checkpoint is incomplete.") from error
    if digest != digest_of(state):
        raise CheckpointError(f"{path / STATE} was altered: its checksum differs from what was written.")
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {state.get('format')}; this version reads format {FORMAT}.")
    if missing := sorted(KEYS - state.keys()):
        raise CheckpointError(f"{path / STATE} lacks {missing[0]!r}: it is no checkpoint of this project.")
    expected = {shard_name(worker, len(files)) for worker in range(len(files))}
    if strange := sorted(files.keys() ^ expected):
        # Never opened: a name such as ../x would lead out of the folder.
        raise CheckpointError(f"{path / STATE} names files that no checkpoint has: {strange[0]!r}.")
    for name in files:
        if not (path / name).is_file():
            raise CheckpointError(f"{path} lacks {name}: the checkpoint is incomplete.")
    chosen = sorted(files)[part]
    with ThreadPoolExecutor(max(1, len(chosen))) as threads:  # hashing gives the interpreter free
        for name, found in zip(chosen, threads.map(lambda name: sha256(path / name), chosen), strict=True):
            if found != files[name]:
                raise CheckpointError(
                    f"{path / name} is corrupt: its checksum differs from what was written."
                )
    return state


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file; unreadable ones raise CheckpointError."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error}).") from error


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def checkpoint_step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def shard_name(worker: int, workers: int) -> str:
    return f"shard-{worker:05d}-of-{workers:05d}.safetensors"


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete-looking checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdecimal())


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint whose checksums are right; worse ones are skipped with a warning."""
    found = open_newest(folder)
    return found and found.path


def open_newest(folder: Path) -> Checkpoint | None:
    """The same, opened."""
    for path in reversed(list_checkpoints(folder)):
        try:
            return read_checkpoint(path)
        except CheckpointError as error:
            logger.warning("%s Skipped: taking the one before.", error)
    return None


def check_identity(checkpoint: Checkpoint, identity: dict) -> None:
    """Refuse a checkpoint of another model.

    Raises:
        CheckpointError: with every key whose value differs.
    """
    found, wanted = checkpoint.identity, json.loads(json.dumps(identity))
    different = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if different:
        pairs = "; ".join(f"{key} was {found.get(key)!r}, now {wanted.get(key)!r}" for key in different)
        raise CheckpointError(
            f"{checkpoint.path} belongs to another model: {pairs}. Move its run away, or train in another"
            " `--workdir`."
        )


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(state: dict) -> str:
    """Checksum of what `state.json` says, but for the checksum itself."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error}).") from error
