"""Which run a request is: one that is there and goes on, a new one that continues another, or a new one.

A run's folder is named after what decides its result. What is there is known from its checkpoints, each of
which keeps the identity and the settings of the run that wrote it.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from training import objects
from training.copied import Copied
from training.errors import TrainingError
from training.files import write_atomically
from training.run.bucket import OWN, RunBucket
from training.run.checkpoint import STATE, checkpoint_step, list_checkpoints, newest_checkpoint
from training.run.settings import TrainSettings

_CONTINUES = "continues.json"
# What of a begun run its continuation needs: what it read, what it reached, what it logged.
_SNAPSHOT, _CHECKPOINTS, _METRICS = "snapshot.json", "checkpoints", "metrics.jsonl"


@dataclass(frozen=True)
class BegunRun:
    """A run that has a checkpoint.

    Attributes:
        folder: its name is the run's id.
        step: of its newest checkpoint.
        identity: what its tensors belong to (method, backbone, data …).
        settings: that it trains with; None where another version wrote them.
        continues: the run whose checkpoint it began with, by its id.
    """

    folder: Path
    step: int
    identity: Mapping[str, Any]
    settings: TrainSettings | None
    continues: str | None

    @property
    def run_id(self) -> str:
        return self.folder.name

    def differs(self, settings: TrainSettings) -> list[str]:
        """What decides the result and is not the same there, as "train.lr (0.0001, now 5e-05)"."""
        if self.settings is None:
            return ["settings of another version"]
        before, now = self.settings.decisive(), settings.decisive()
        names = [name for name in before | now if before.get(name) != now.get(name)]
        values = {name: (getattr(self.settings, name), getattr(settings, name)) for name in names}
        return [f"{_typed(name)} ({old}, now {new})" for name, (old, new) in values.items() if old != new]


@dataclass(frozen=True)
class RunPlace:
    """Where a request trains.

    Attributes:
        run_id: names the run's folder.
        step: of the checkpoint that it goes on from; 0: it begins.
        continues: the checkpoint of another run that is copied there first.
        said: what a person should know of it before it begins.
    """

    run_id: str
    step: int = 0
    continues: Path | None = None
    said: tuple[str, ...] = ()


def begun_runs(runs: Path) -> list[BegunRun]:
    """The runs in a folder that have a checkpoint, the one that wrote last first."""
    found = []
    for folder in runs.glob("train-*"):
        for path in reversed(list_checkpoints(folder / _CHECKPOINTS)):
            try:
                state = json.loads((path / STATE).read_text("utf-8"))
                found.append(((path / STATE).stat().st_mtime, _begun(folder, path, state)))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # torn: the checkpoint before it says the same
            break
    return [run for _, run in sorted(found, key=lambda each: each[0], reverse=True)]


def fetch_runs(uri: str, runs: Path, identity: Mapping[str, Any]) -> None:
    """Have in `runs` what the bucket folder `uri` has of the runs that a request may be or go on from.

    Of each run what says which it is; of those of this identity also the newest checkpoint that is whole.
    """
    found = {name.partition("/")[0] for name in objects.listed(uri) if name.startswith("train-")}
    for folder in runs.glob("train-*"):
        if folder.name not in found:
            shutil.rmtree(folder)
    for name in sorted(found):
        bucket, folder = RunBucket(f"{uri}/{name}"), runs / name
        bucket.fetch_files(folder)
        newest = bucket.fetch_state(folder / _CHECKPOINTS)
        if newest is not None and newest.get("identity") == identity:
            bucket.fetch_newest(folder / _CHECKPOINTS)


def keep_run(uri: str, folder: Path) -> None:
    """Put into the bucket folder of all runs what `open_place` made of one."""
    bucket = RunBucket(f"{uri}/{folder.name}")
    saved = bucket.steps()
    Copied(folder, bucket.uri, OWN).put()
    for path in list_checkpoints(folder / _CHECKPOINTS):
        if not saved:  # it begins with the checkpoint of the run that it continues
            bucket.put_checkpoint(path)


def place_run(runs: Path, identity: Mapping[str, Any], settings: TrainSettings, go_on: bool) -> RunPlace:
    """Find the run that a request is, or the one that it continues.

    Args:
        runs: the folder of all runs.
        identity: what the run's tensors will belong to, JSON.
        settings: that it is to train with.
        go_on: continue the newest run of this identity, though its settings differ.

    Raises:
        TrainingError: `go_on`, and there is nothing to continue, or nothing left to do.
    """
    begun = begun_runs(runs)
    same = [run for run in begun if run.identity == identity]
    if go_on:
        return _continued(same, identity, settings)
    alike = [run for run in same if run.continues is None and not run.differs(settings)]
    if shorter := [run for run in alike if run.step <= settings.steps]:
        return _going_on(max(shorter, key=lambda run: run.step), settings)
    if alike:
        longer = alike[0]
        apart = f"{longer.run_id} has {longer.step} steps already: one of {settings.steps} is a run apart"
        return RunPlace(_name(identity, settings.decisive(), {"steps": settings.steps}), said=(apart,))
    return RunPlace(_name(identity, settings.decisive()), said=_instead(begun, same, identity, settings))


def open_place(runs: Path, place: RunPlace, snapshot: str, settings: TrainSettings) -> Path:
    """The run's folder, made where it is not there.

    It holds the snapshot that the run reads from its first step to its last; of the run that it continues
    also the checkpoint, and the rows up to it.
    """
    folder = runs / place.run_id
    if place.continues is not None and not folder.exists():
        source, building = place.continues.parents[1], runs / f".{place.run_id}-{uuid.uuid4().hex}"
        try:
            shutil.copytree(place.continues, building / _CHECKPOINTS / place.continues.name)
            for name in (_SNAPSHOT, _METRICS):
                if (source / name).exists():
                    shutil.copy(source / name, building / name)
            told = {"run_id": source.name, "step": place.step, "train": settings.model_dump(mode="json")}
            write_atomically(building / _CONTINUES, json.dumps(told, indent=1))
            building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _SNAPSHOT).exists():
        write_atomically(folder / _SNAPSHOT, snapshot)
    return folder


def read_snapshot(folder: Path) -> str:
    """What the run in a folder reads, as its catalogue wrote it down."""
    return (folder / _SNAPSHOT).read_text("utf-8")


def continued(folder: Path) -> dict[str, Any] | None:
    """The "run_id" that the run in a folder continues, from which "step", and the settings ("train") that it
    then took; None where it began by itself."""
    path = folder / _CONTINUES
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _continued(same: Sequence[BegunRun], identity: Mapping[str, Any], settings: TrainSettings) -> RunPlace:
    if not same:
        raise TrainingError(
            "--continue: no run of this method on these clips and this backbone has a checkpoint yet. Leave"
            " it away to begin one."
        )
    newest = same[0]
    differs = newest.differs(settings)
    if newest.step > settings.steps or (differs and newest.step == settings.steps):
        raise TrainingError(
            f"--continue: {newest.run_id} has {newest.step} steps already, and {settings.steps} are asked"
            " for. Ask for more: --steps counts from the run's beginning."
        )
    if not differs:
        return _going_on(newest, settings)
    reached = newest_checkpoint(newest.folder / _CHECKPOINTS)
    if reached is None:
        raise TrainingError(
            f"--continue: no checkpoint of {newest.folder} is whole. Leave it away to begin anew."
        )
    step = checkpoint_step(reached)
    run_id = _name(identity, settings.decisive(), {"run_id": newest.run_id, "step": step})
    said = f"goes on from step {step} of {newest.run_id}, which differs in {', '.join(differs)}"
    return RunPlace(run_id, step, reached, (said,))


def _going_on(own: BegunRun, settings: TrainSettings) -> RunPlace:
    reached = newest_checkpoint(own.folder / _CHECKPOINTS)
    if reached is None:
        return RunPlace(own.run_id, said=("none of its checkpoints is whole: it begins again at step 0",))
    step = checkpoint_step(reached)
    if step >= settings.steps:
        return RunPlace(own.run_id, step, said=(f"has its {step} steps already",))
    asked = own.settings.steps if own.settings else settings.steps
    longer = f", to {settings.steps} where {asked} were asked for before" if asked != settings.steps else ""
    return RunPlace(own.run_id, step, said=(f"goes on from step {step}{longer}",))


def _instead(
    begun: Sequence[BegunRun], same: Sequence[BegunRun], identity: Mapping[str, Any], settings: TrainSettings
) -> tuple[str, ...]:
    """Why a new run begins although there are others."""
    if same:
        nearest = min(same, key=lambda run: len(run.differs(settings)))
        differs = nearest.differs(settings)
        what = f"differs in {', '.join(differs)}" if differs else f"continues {nearest.continues} with these"
        if settings.schedule == "cosine" and any(each.startswith("train.steps ") for each in differs):
            what += " (a cosine schedule's rates depend on the number of steps)"
        return (
            f"a run with {nearest.step} steps exists ({nearest.run_id}) and {what}: --continue goes on from"
            " it with the new value, without it a new one begins",
        )
    if begun:
        newest = begun[0]
        keys = newest.identity.keys() | identity.keys()
        others = sorted(key for key in keys if newest.identity.get(key) != identity.get(key))
        return (
            f"a run with {newest.step} steps exists ({newest.run_id}) and is of other {' and '.join(others)}:"
            " a new one begins (train.start_from=MODEL_FOLDER begins with the tensors of a trained model)",
        )
    return ()


def _begun(folder: Path, checkpoint: Path, state: Mapping[str, Any]) -> BegunRun:
    step, told = checkpoint_step(checkpoint), continued(folder)
    # A checkpoint that was copied holds the settings of the run that it came from.
    stored = told["train"] if told and told["step"] == step else state["settings"]["train"]
    try:
        settings = TrainSettings.model_validate(stored)
    except ValidationError:
        settings = None
    return BegunRun(folder, step, state["identity"], settings, told and told["run_id"])


def _typed(name: str) -> str:
    """A decisive value as a person sets it."""
    if name == "samples_per_step":
        return "train.batch_size × workers × accumulation"
    return f"train.{name}"


def _name(*deciding: object) -> str:
    return f"train-{digest(list(deciding))[:10]}"


def digest(value: object) -> str:
    """SHA-256 (hex) of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
