"""One night, by one command: `python -m tests.story.night [FOLDER]`.

New clips arrive, retraining becomes due, a worker dies, training goes on, the challenger is judged and
promoted, a person finds it wanting and goes back, a licence is withdrawn and the model that saw the clips is
marked. Everything is real: rendered videos, a local Ray, the pocket backbone, the gate. The timeline is
printed, and drawn in FOLDER/night.html.
"""

import getpass
import json
import os
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import psutil

# Ray Train looks every two seconds whether its workers are done.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")

from catalog.champions import champion, marks
from catalog.curation import Author, Selection
from catalog.curation.clips import set_split, withdraw
from catalog.decisions import Decision, decisions
from catalog.vocabulary import Split, Verdict
from jobs.curate import cluster_job, embed_job, encode_job, ingest_job
from jobs.place import Place
from jobs.ray_session import ray_session
from jobs.retrain import retrain_job
from jobs.train import run_settings
from jobs.workspace import Workspace
from pipeline.champions import rollback
from pipeline.retraining.retrain import Asked, what_would_happen
from pipeline.samples.write import write_samples
from pipeline.showcase import choose_examples
from pipeline.studio import Studio
from pipeline.trace import trace
from training.run.checkpoint import checkpoint_step, list_checkpoints
from training.run.watch import read_rows

TRAIN, HELD_OUT = ("melt", "posterise", "explode"), ("pixelate",)
LANES = ("catalogue", "training", "gate", "person")
SETTINGS = (
    "clip.height=64",
    "clip.width=96",
    "cluster.val_fraction=0",
    f"cluster.held_out_categories={json.dumps(HELD_OUT)}",
    "retrain.new_clips=3",
    "retrain.holdout_pairs=8",
    "retrain.draws=2",
    # Eight pairs say little: the gate asks for less certainty than it does by default.
    "retrain.delta=0",
    "retrain.margin=0.5",
    "retrain.unseen_margin=0.1",
    "retrain.confidence=0.8",
    "retrain.looks=1",
    "train.batch_size=2",
    "train.evaluate_every=null",
    "train.checkpoint_every=2",
    "train.warmup_steps=0",
    "generate.steps=6",
)
STEPS = 6
NIGHTLY = Asked("the schedule", if_due=True)


@dataclass
class Timeline:
    """What happened, when, to whom."""

    begin: datetime = field(default_factory=lambda: datetime.now(UTC))
    rows: list[tuple[float, str, str]] = field(default_factory=list)

    def __call__(self, lane: str, text: str) -> None:
        """Write down and print that something has happened."""
        seconds = (datetime.now(UTC) - self.begin).total_seconds()
        self.rows.append((seconds, lane, text))
        print(f"{seconds:6.0f} s  {lane:<9}  {text}", flush=True)

    def draw(self, path: Path) -> None:
        """A picture of it: a lane for each, numbered dots for what happened, and beneath it the words."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        lines: list[str] = []
        for number, (seconds, lane, text) in enumerate(self.rows, 1):
            first, *rest = textwrap.wrap(text, 112)
            lines += [
                f"{number:>3}  {seconds:4.0f} s  {lane:<9}  {first}",
                *(" " * 24 + more for more in rest),
            ]
        height = 0.17 * len(lines)
        figure, (lanes, words) = plt.subplots(
            2, 1, figsize=(13, 3.2 + height), height_ratios=[2.6, height], layout="constrained"
        )
        heights = {lane: len(LANES) - place for place, lane in enumerate(LANES)}
        drawn: dict[str, float] = {}
        for number, (seconds, lane, _) in enumerate(self.rows, 1):
            lanes.plot(seconds, heights[lane], "o", color=f"C{LANES.index(lane)}", markersize=7)
            # What happens at one moment is one dot with its first number; the words have them all.
            if seconds - drawn.get(lane, -1e9) > self.rows[-1][0] / 40:
                drawn[lane] = seconds
                lanes.annotate(
                    str(number),
                    (seconds, heights[lane]),
                    xytext=(0, 8),
                    textcoords="offset points",
                    ha="center",
                )
        lanes.set(
            title="A night: curation goes on, the model follows", xlabel="seconds", ylim=(0.5, 4.7), xlim=0
        )
        lanes.set_yticks([*heights.values()], [*heights])
        lanes.grid(axis="y", color="0.9")
        lanes.spines[["top", "right", "left"]].set_visible(False)
        words.axis("off")
        words.text(
            0, 1, "\n".join(lines), va="top", family="monospace", fontsize=9, transform=words.transAxes
        )
        figure.savefig(path, dpi=110)
        plt.close(figure)


class Night:
    """The working directory of the story, and its timeline."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.told = folder, Timeline()
        self.work = folder / "work"

    def workspace(self, *settings: str) -> Workspace:
        """As a command opens it, with settings of its own."""
        return Workspace(self.work, "tiny", [*SETTINGS, *settings])

    def deliver(
        self,
        name: str,
        per_category: int,
        seed: int,
        categories: tuple[str, ...],
        licence: str,
        validate: bool = False,
    ) -> None:
        """Render videos of a licence, and take them in: ingest, embed, cluster, encode."""
        videos = self.folder / name
        write_samples(videos, per_category=per_category, seed=seed, effects=categories)
        manifest = videos / "captions.jsonl"
        rows = [json.loads(line) | {"licence": licence} for line in manifest.read_text().splitlines()]
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.told("catalogue", f"{len(rows)} videos arrive under {licence}")
        workspace = self.workspace()
        said = {"source": name, "licence": None, "generator": None, "licence_evidence": f"contract of {name}"}
        ingest_job(workspace, Place.of(str(videos), None, [], said), None)
        for job in (embed_job, cluster_job, encode_job):
            job(workspace, None)
        if validate:
            self._set_aside(workspace)
        clips = workspace.catalog.count("clips")
        self.told("catalogue", f"{clips} clips are in the catalogue, with categories, splits and features")

    def _set_aside(self, workspace: Workspace) -> None:
        """A curator keeps one clip of each category out of training."""
        rows = workspace.catalog.scan("clips", ["clip_id", "category_id", "split"]).to_pylist()
        first = {row["category_id"]: row["clip_id"] for row in rows if row["split"] == Split.TRAIN}
        by = Author(getpass.getuser())
        set_split(workspace.catalog, Selection(tuple(sorted(first.values()))), Split.VAL, by)
        self.told("person", f"keeps a clip of each of {len(first)} categories out of training")

    def retrain(self, *settings: str) -> Decision:
        """What the schedule does: only where it is due."""
        workspace = self.workspace(*settings)
        retrain_job(workspace, None, NIGHTLY, dry_run=False)
        made = decisions(workspace.catalog)[0]
        why = f", because of {', '.join(made.triggers)}" if made.triggers else ""
        self.told("gate", f"decision {made.decision_id}: {made.verdict}{why}; see work/{made.evidence}")
        return made


def main(folder: Path) -> None:
    """Tell the story in a folder; raises AssertionError where it goes otherwise."""
    night = Night(folder)
    with ray_session():
        first = _evening(night)
        second = _new_clips(night, first)
        _person(night, first, second)
        _licence(night, second)
    _drawn(night)


def _evening(night: Night) -> str:
    """The first model; then nothing is due."""
    night.deliver("studio", 3, 0, (*TRAIN, *HELD_OUT), "CC0-1.0", validate=True)
    # From random weights, and hardly trained: there is something to be better than.
    made = night.retrain("train.start_from=null", "train.steps=2")
    assert made.verdict == Verdict.PROMOTED, made
    night.told("training", f"{made.challenger} is the first champion: 2 steps from random weights")
    quiet = night.retrain()
    assert quiet.verdict == Verdict.NOT_DUE, quiet
    return str(made.challenger)


def _new_clips(night: Night, first: str) -> str:
    """Clips arrive, training is due, a worker dies, the challenger is judged and promoted."""
    night.deliver("guest", 2, 7, TRAIN, "CC-BY-4.0")
    settings = ("train.start_from=pocket", f"train.steps={STEPS}", "train.lr=5e-5")
    workspace = night.workspace(*settings)
    due, *_, judging = what_would_happen(
        workspace.catalog, run_settings(workspace.profile), workspace.profile.retrain, NIGHTLY
    )
    for sentence in (due, judging):
        night.told("gate", f"dry run: {sentence}")
    with Killer(night.work / "runs", lambda text: night.told("training", text)):
        made = night.retrain(*settings)
    steps = [row["step"] for row in read_rows(night.work / "runs" / str(made.run_id) / "metrics.jsonl")]
    assert steps == list(range(1, STEPS + 1)), steps
    for reason in made.figures["reasons"]:
        night.told("gate", reason)
    assert made.verdict == Verdict.PROMOTED, made
    assert champion(workspace.catalog) == made.challenger != first
    night.told("gate", f"{made.challenger} is the champion, in place of {first}")
    return str(made.challenger)


def _person(night: Night, first: str, second: str) -> None:
    """Somebody looks at what the new champion makes, traces it, and goes back."""
    workspace = night.workspace()
    reference, target = choose_examples(workspace.catalog, 1)[0]
    studio = Studio.open(night.work)
    assert studio.release.model_id == second
    studio.settings = workspace.profile.generate
    video, _ = studio.make(reference["clip_id"], target["clip_id"], "a red mug").save(
        night.folder / "mug.mp4"
    )
    found = trace(workspace.catalog, video)
    assert found.model is not None and found.model.model_id == second
    licences = ", ".join(f"{count} under {name}" for name, count in (found.licences or {}).items())
    night.told(
        "person", f"looks at {video.name}, of {second}, which trained on {found.clips} clips ({licences})"
    )
    reason = "the mug tears where the effect begins"
    rollback(workspace.catalog, night.work / "models", Author(getpass.getuser()), reason)
    assert champion(workspace.catalog) == first
    night.told("person", f"finds it wanting ({reason}) and goes back: {first} is the champion again")


def _licence(night: Night, second: str) -> None:
    """A licence is withdrawn: clips leave, the model that saw them is marked, training is due."""
    workspace = night.workspace()
    before = workspace.catalog.count("clips")
    guests = Selection.matching("licence = 'CC-BY-4.0'")
    done = withdraw(workspace.catalog, guests, Author("the lawyer"), "the guest has left")
    gone = f"{done.changed['clips']} of {before} clips leave (event {done.event})"
    night.told("person", f"withdraws a licence: {gone}")
    marked = marks(workspace.catalog)
    assert marked.keys() == {second}, marked
    night.told("catalogue", f"{second} is marked: it {marked[second].sentence()}")
    said = what_would_happen(
        workspace.catalog, run_settings(workspace.profile), workspace.profile.retrain, NIGHTLY
    )
    assert said[0].startswith("due (withdrawn)"), said
    night.told("gate", f"dry run: {said[0]}")


class Killer:
    """Kills the process of a training worker once the run has a checkpoint to go on from; tells of both."""

    def __init__(self, runs: Path, told: Callable[[str], None]) -> None:
        self.runs, self.told = runs, told
        self.known = set(runs.glob("train-*"))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Killer":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.1):
            for run in set(self.runs.glob("train-*")) - self.known:
                if saved := list_checkpoints(run / "checkpoints"):
                    for process in psutil.Process().children(recursive=True):
                        if _is_training(process):
                            before = (run / "owner").read_text()
                            process.kill()
                            step = checkpoint_step(saved[-1])
                            self.told(f"a worker dies (process {process.pid}); step {step} is saved")
                            self._see_it_go_on(run / "owner", before, step)
                            return

    def _see_it_go_on(self, owner: Path, before: str, step: int) -> None:
        """Whoever trains in a run's folder claims it first."""
        while not self.over.wait(0.1):
            if owner.read_text() != before:
                self.told(f"another worker goes on after step {step}")
                return


def _is_training(process: psutil.Process) -> bool:
    try:
        return "TrainWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _drawn(night: Night) -> None:
    night.told.draw(night.folder / "night.png")
    page = night.folder / "night.html"
    rows = "".join(f"<tr><td>{s:.0f} s<td>{lane}<td>{escape(text)}" for s, lane, text in night.told.rows)
    page.write_text(
        f"<!doctype html><meta charset=utf-8><title>A night</title><img src=night.png><table>{rows}"
    )
    print(f"Drawn: {page}")


if __name__ == "__main__":
    began = time.monotonic()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="night-")))
    print(f"The night took {time.monotonic() - began:.0f} s.")
