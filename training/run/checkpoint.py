"""Checkpoints: a folder per saved step, written atomically in the background, verified on load.

    step-00000100/
        model.safetensors      trainable tensors, in the run's precision: all that generation needs
        ema.safetensors        their moving average, fp32, where the run keeps one
        optimizer.safetensors  fp32 masters and Adam's moments, consolidated ("exp_avg/<name>", …)
        state.json             step, samples consumed, identity, configuration, checksum of every file

A folder appears under its name only when it is complete and on disk. Nothing is pickled.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.errors import TrainingError

FORMAT = 1
MODEL, EMA, OPTIMIZER, STATE = "model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"
# What state.json has at least; keys that a later version adds are read past.
KEYS = {"format", "step", "samples", "identity", "settings", "files"}
logger = logging.getLogger(__name__)


class CheckpointError(TrainingError):
    """A checkpoint that is torn, corrupt or belongs to another model."""


@dataclass
class OptimizerState:
    """Consolidated: independent of the ZeRO stage and of the number of workers.

    Every tensor is fp32, on the CPU, in its parameter's full shape; moments are "exp_avg", "exp_avg_sq".
    """

    step: int
    masters: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    ema: dict[str, Tensor] | None = None


@dataclass
class Checkpoint:
    """What a run goes on from.

    `samples` counts the global sample numbers consumed; `identity` says which method, backbone and data the
    tensors belong to; `settings` is the resolved configuration of the run that wrote it.
    """

    optimizer: OptimizerState
    samples: int
    identity: dict
    settings: dict

    @property
    def step(self) -> int:
        return self.optimizer.step


def write_checkpoint(folder: Path, checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> Path:
    """Write `folder`/step-…; the model file holds the weights in `dtype`."""
    final = checkpoint_path(folder, checkpoint.step)
    partial = folder / f".{final.name}-{uuid.uuid4().hex}"
    partial.mkdir(parents=True)
    optimizer = checkpoint.optimizer
    flat = {f"master/{name}": tensor for name, tensor in optimizer.masters.items()}
    for key, tensors in optimizer.moments.items():
        flat |= {f"{key}/{name}": tensor for name, tensor in tensors.items()}
    model = {name: tensor.to(dtype).contiguous() for name, tensor in optimizer.masters.items()}
    save_file(model, partial / MODEL, metadata={"format": "pt"})
    save_file(flat, partial / OPTIMIZER)
    if optimizer.ema is not None:
        save_file(optimizer.ema, partial / EMA, metadata={"format": "pt"})
    state = {
        "format": FORMAT,
        "step": checkpoint.step,
        "samples": checkpoint.samples,
        "identity": checkpoint.identity,
        "settings": checkpoint.settings,
        "files": {path.name: _sha256(path) for path in sorted(partial.iterdir())},
    }
    state["sha256"] = _digest(state)
    (partial / STATE).write_text(json.dumps(state, indent=1))
    for path in partial.iterdir():
        _flush(path)
    _flush(partial)
    if final.exists():  # written by a worker that was lost before it could say so
        shutil.rmtree(final)
    partial.rename(final)
    _flush(folder)
    return final


def read_state(path: Path) -> dict:
    """The verified `state.json` of a checkpoint, every file's checksum included.

    Raises:
        CheckpointError: a file is missing, torn or altered, or of a format that this version does not read.
    """
    try:
        state = json.loads((path / STATE).read_text())
        digest = state.pop("sha256")
        files = dict(state["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has no readable {STATE}: the checkpoint is incomplete.") from error
    if missing := sorted(KEYS - state.keys()):
        raise CheckpointError(f"{path / STATE} lacks {missing[0]!r}: it is no checkpoint of this project.")
    if digest != _digest(state):
        raise CheckpointError(f"{path / STATE} was altered: its checksum differs from what was written.")
    if state["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {state['format']}; this version reads format {FORMAT}.")
    if strange := sorted(files.keys() - {MODEL, EMA, OPTIMIZER}):
        # Never opened: a name such as ../x would lead out of the folder.
        raise CheckpointError(f"{path / STATE} names a file that no checkpoint has: {strange[0]!r}.")
    for name, expected in {MODEL: None, OPTIMIZER: None, **files}.items():
        if not (path / name).is_file():
            raise CheckpointError(f"{path} lacks {name}: the checkpoint is incomplete.")
        if _sha256(path / name) != expected:
            raise CheckpointError(f"{path / name} is corrupt: its checksum differs from what was written.")
    return state


def read_checkpoint(path: Path) -> Checkpoint:
    """Everything a run goes on from.

    Raises:
        CheckpointError: see `read_state`.
    """
    state = read_state(path)
    flat = read_tensors(path / OPTIMIZER)
    masters: dict[str, Tensor] = {}
    moments: dict[str, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        kind, slash, name = key.partition("/")
        if not slash:
            raise CheckpointError(f"{path / OPTIMIZER} holds {key!r}, which no optimizer state has.")
        (masters if kind == "master" else moments.setdefault(kind, {}))[name] = tensor
    ema = read_tensors(path / EMA) if EMA in state["files"] else None
    optimizer = OptimizerState(state["step"], masters, moments, ema)
    return Checkpoint(optimizer, state["samples"], state["identity"], state["settings"])


def read_model(path: Path, ema: bool = True) -> dict[str, Tensor]:
    """The trainable tensors of a checkpoint, averaged ones where there are any and `ema` is true.

    Raises:
        CheckpointError: see `read_state`.
    """
    files = read_state(path)["files"]
    return read_tensors(path / (EMA if ema and EMA in files else MODEL))


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


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete-looking checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdecimal())


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint whose checksums are right; worse ones are skipped with a warning."""
    for path in reversed(list_checkpoints(folder)):
        try:
            read_state(path)
        except CheckpointError as error:
            logger.warning("%s Skipped: taking the one before.", error)
            continue
        return path
    return None


def check_identity(path: Path, identity: dict) -> None:
    """Refuse a checkpoint of another model.

    Raises:
        CheckpointError: with every key whose value differs.
    """
    found = read_state(path)["identity"]
    wanted = json.loads(json.dumps(identity))
    different = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if different:
        pairs = "; ".join(f"{key} was {found.get(key)!r}, now {wanted.get(key)!r}" for key in different)
        raise CheckpointError(
            f"{path} belongs to another model: {pairs}. Move its run away, or train in another `--workdir`."
        )


class CheckpointWriter:
    """Writes checkpoints of one run in a background thread, one at a time, and prunes old ones.

    Args:
        folder: where the step folders lie.
        keep_last: the newest ones that are kept.
        keep_every: those whose step is a multiple of it are kept as well.
        dtype: of the model file.
        allowed: called before anything is written; may raise to say that this run lost its folder.
    """

    def __init__(
        self,
        folder: Path,
        keep_last: int,
        keep_every: int | None = None,
        dtype: torch.dtype = torch.float32,
        allowed: Callable[[], None] = lambda: None,
    ):
        self._folder, self._keep_last, self._keep_every, self._dtype = folder, keep_last, keep_every, dtype
        self._allowed = allowed
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def save(self, checkpoint: Checkpoint) -> None:
        """Begin to write; waits first for the one before, and raises what it raised."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(checkpoint,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Return when everything saved so far is on disk."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _write(self, checkpoint: Checkpoint) -> None:
        try:
            self._allowed()
            write_checkpoint(self._folder, checkpoint, self._dtype)
            self._prune()
        except BaseException as error:  # noqa: BLE001 - raised again in `wait`, in the thread that trains
            self._error = error

    def _prune(self) -> None:
        for path in list_checkpoints(self._folder)[: -self._keep_last]:
            if not self._keep_every or checkpoint_step(path) % self._keep_every:
                shutil.rmtree(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(state: dict) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
