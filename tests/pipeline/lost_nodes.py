"""The way from files to a model's clips on one machine, and on two of which one is lost in every stage.

`python -m tests.pipeline.lost_nodes FOLDER` goes the second, from FOLDER/videos to FOLDER/two, and prints how
many machines were lost in each stage; at the end a machine joins that does not see FOLDER/hidden, and what
the product says of it is printed. A process, for tests have another Ray.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from PIL import Image

from catalog.snapshots.named import NOW
from catalog.store import Catalog
from jobs.needs import require_cluster
from jobs.profile import load_profile
from jobs.train import run_settings
from jobs.workspace import Workspace
from pipeline.batch import ClipMaker, Outcome, make_batch
from pipeline.batch_file import Wanted, read_batch
from pipeline.cluster import cluster as categorise
from pipeline.embed import embed
from pipeline.encode import encode
from pipeline.evaluation.evaluate import contestant
from pipeline.evaluation.make import Contestant, MakeClips, MakeReport, make_clips
from pipeline.evaluation.plan import Case, plan_evaluation
from pipeline.evaluation.store import EvaluationStore
from pipeline.ingest import ingest
from pipeline.pairing.stream import PairStream
from pipeline.prepare import prepare_run
from pipeline.run import TrainingRun
from pipeline.sources.survey import discover
from pipeline.workers.nodes import NodeUnfit
from tests.pipeline.fleet import Fleet, machine_that_lacks, may_hide
from tests.pipeline.made import GEOMETRY
from tests.pipeline.video.video_files import moving, write
from tests.training.run.lost_node import dead
from tests.training.run.small_run import hang
from training.errors import TrainingError
from training.progress import Progress
from training.release import shipped_model
from training.run.job import TrainResult
from training.run.loop import train

STEPS = 4
SETTINGS = (
    *(*GEOMETRY, "cluster.val_fraction=0", "ingest.batch_files=1"),
    *("embed.batch_size=1", "encode.batch_size=1", "encode.first_frame_variants=1"),
    *(f"train.steps={STEPS}", "train.batch_size=1", "train.workers=2", "train.worker_cpus=0.6"),
    *("train.checkpoint_every=2", "train.evaluate_every=null", "train.trackers=[]", "train.worker_threads=1"),
    *("generate.steps=1", "evaluate.per_category=1", "evaluate.draws=1"),
)
# Each actor on a machine of its own.
APART = ("embed.actors=2", "encode.actors=2", "evaluate.actors=2")
MODEL = shipped_model()


def write_inputs(folder: Path) -> None:
    """Six videos of two effects, and what a list of clips needs."""
    for effect, seeds in (("melt", (1, 2, 3)), ("crush", (4, 5, 6))):
        for seed in seeds:
            write(folder / "videos" / effect / f"{seed}.mp4", moving(30, seed=seed))
    Image.new("RGB", (96, 64), (120, 80, 40)).save(folder / "mug.png")
    lines = [f"videos/melt/{n}.mp4,mug.png,a mug,{n}.mp4" for n in (1, 2, 3)]
    (folder / "list.csv").write_text("\n".join(["reference,first_frame,prompt,output", *lines]))


@dataclass
class Way:
    """Every stage, from `videos` and the list beside `folder` into it."""

    folder: Path
    settings: tuple[str, ...] = SETTINGS

    def __post_init__(self) -> None:
        self.profile = load_profile("tiny", list(self.settings))

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog.create(self.folder / "catalog", self.profile.clip)

    def ingest(self, progress: Progress | None = None) -> None:
        ingest(discover(self.folder.parent / "videos"), self.catalog, self.profile.ingest, progress=progress)

    def embed(self, progress: Progress | None = None) -> None:
        embed(self.catalog, self.profile.embed, progress)
        categorise(self.catalog, self.profile.cluster)

    def encode(self, progress: Progress | None = None) -> None:
        encode(self.catalog, self.profile.backbone, self.profile.encode, progress)

    def run(self) -> TrainingRun:
        """What trains: all that is not held out, one clip of each effect."""
        rows = self.catalog.scan("clips", ["clip_id", "category_id", "split"]).to_pylist()
        last = {row["category_id"]: row for row in sorted(rows, key=lambda row: row["clip_id"])}
        self.catalog.update("clips", [row | {"split": "val"} for row in last.values()])
        return prepare_run(self.catalog, self.folder / "runs", run_settings(self.profile))

    @property
    def evaluated(self) -> EvaluationStore:
        return EvaluationStore(self.folder / "evaluations")

    def asked(self) -> tuple[Contestant, Sequence[Case]]:
        """The shipped model on what is held out, and how well it tells right from wrong there."""
        profile, view = self.profile, self.catalog.at(self.catalog.snapshot())
        plan = plan_evaluation(view, profile.pairs, profile.evaluate.per_category, 0, 1, NOW)
        side = contestant(view, MODEL, profile.backbone, profile.generate, profile.pairs, ["transfer_gap"])
        return side, plan.cases

    def evaluate(self, progress: Progress) -> MakeReport:
        return make_clips(self.catalog, self.evaluated, *self.asked(), self.profile.evaluate, progress)

    def evaluate_here(self) -> None:
        """Without Ray, in this process."""
        side, cases = self.asked()
        keys = side.keys(cases)
        of = dict(zip(keys, cases, strict=True))
        maker = MakeClips(self.catalog, self.evaluated, side, of, self.profile.evaluate.draws)
        maker(pa.table({"key": keys}))

    @property
    def made(self) -> Path:
        return self.folder / "made"

    def wanted(self) -> list[Wanted]:
        """The clips of the list, by the shipped model."""
        listed, generate = self.folder.parent / "list.csv", self.profile.generate
        return read_batch(listed, self.made, self.catalog, generate, MODEL.model_id)

    def generate(self, progress: Progress) -> list[Outcome]:
        how = (self.catalog, MODEL, self.profile.backbone, self.profile.generate)
        return make_batch(self.wanted(), self.made, *how, 2, progress)

    def generate_here(self) -> None:
        """Without Ray, in this process."""
        maker = ClipMaker(self.catalog, MODEL, self.profile.backbone, self.profile.generate)
        for each in self.wanted():
            maker.make(each)


@dataclass(frozen=True)
class StruckPairs:
    """The pairs of a stream; a worker that asks for its third batch waits, until there is the marker."""

    stream: PairStream
    marker: Path

    def __call__(self, plan):
        for at, batch in enumerate(self.stream(plan)):
            if at == 2 and not self.marker.exists():
                self.marker.touch()
                hang()
            yield batch


def main(folder: Path) -> None:
    fleet, way = Fleet(), Way(folder / "two", (*SETTINGS, *APART))
    stages: dict[str, Callable[[], object]] = {
        "ingest": lambda: way.ingest(fleet.lose_at_first()),
        "embed": lambda: way.embed(fleet.lose_at_first()),
        "encode": lambda: way.encode(fleet.lose_at_first()),
        "train": lambda: trained(way, fleet),
        "evaluate": lambda: way.evaluate(fleet.lose_at_first()).failures,
        "generate": lambda: [each.status for each in way.generate(fleet.lose_at_first())],
    }
    try:
        for name, work in stages.items():
            fleet.fill()
            before, began = dead(), time.monotonic()
            told = work()
            seconds = time.monotonic() - began
            fleet.notice()
            print(f"{name}: {dead() - before} machines lost, {told}", flush=True)
            print(f"{name} took {seconds:.1f} s", flush=True)
        if may_hide():
            late(folder / "hidden", fleet, way)
    finally:
        fleet.close()


def trained(way: Way, fleet: Fleet) -> int:
    """Train; a machine is lost in the third step, and another one takes its place. The last step."""
    run, ended = way.run(), []
    stream = StruckPairs(run.stream, way.folder / "in the third step")
    working = threading.Thread(target=lambda: ended.append(train(run.job, stream)))
    working.start()
    saved = run.job.run_dir / "checkpoints" / "step-00000002" / "state.json"
    while working.is_alive() and not (stream.marker.exists() and saved.exists()):
        time.sleep(0.05)
    fleet.lose()
    fleet.fill()
    working.join()
    result: TrainResult = ended[0]
    return result.step


def late(place: Path, fleet: Fleet, way: Way) -> None:
    """What each command says of a machine that lacks the folder, and training of one that came later."""
    space = Workspace(place, None, list(SETTINGS), way.catalog.uri)
    run = way.run()
    job = replace(
        run.job,
        run_dir=place / "run",
        settings=run.job.settings.model_copy(update={"workers": 1, "max_failures": 0}),
    )
    while fleet.nodes:
        fleet.lose()
    fleet.notice()
    with machine_that_lacks(place, fleet.machines.address):
        for command in ("train", "evaluate"):
            say(command, lambda command=command: require_cluster(command, space))
        say("batch", lambda: require_cluster("batch", space, writes=[place / "made"]))
        say("training", lambda: train(job, run.stream))


def say(name: str, work: Callable[[], object]) -> None:
    """Print the sentence that work is refused with."""
    try:
        work()
        print(f"{name} said nothing", flush=True)
    except (NodeUnfit, TrainingError) as refused:
        print(f"{name} said {type(refused).__name__}: {refused}", flush=True)


if __name__ == "__main__":
    # Ray Train first asks for as many workers as there were, for it hears of lost resources late.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "10"
    # A cluster writes its address where others would look for one to join: not there.
    with tempfile.TemporaryDirectory(prefix="ray-") as apart:
        os.environ["RAY_TMPDIR"] = apart
        main(Path(sys.argv[1]))
