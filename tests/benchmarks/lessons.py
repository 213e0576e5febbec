"""What lessons bring: a hypernetwork from nothing, by clips alone or by adapters first, for as many seconds.

    clips       the diffusion loss on pairs, for all of the seconds
    categories  one adapter per category (`category_lora`), the hypernetwork towards those, then pairs
    polished    a few pairs, adapters polished for single clips, the hypernetwork towards those, then pairs

On a working directory whose clips are encoded (`video2lora sample`, `ingest`, `embed`, `cluster`, `encode`).
Every lesson is the product's own: run, stream, method, engine, held-out look; only Ray Train is left out, so
that the processor seconds of a busy machine are those of the lessons.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import torch
import torch.distributed as dist
from lancedb.expr import col

from catalog.models import keep_model
from catalog.store import Catalog
from catalog.vocabulary import Split, Status
from jobs.profile import load_profile
from jobs.train import run_settings
from pipeline.adapt import PredictAdapters
from pipeline.adapters import keep_adapters, polished_name
from pipeline.prepare import prepare_run
from training.backbones.registry import locate_backbone
from training.release import Release, publish_tensors
from training.run.engine import Engine
from training.settings import PolishSettings

PLAIN = ("train.start_from=null", "train.batch_size=8", "train.ema_decay=0.95", "train.evaluate_every=1")
BASELINE = (
    *PLAIN,
    "method={kind='category_lora', down_size=48, up_size=24, timestep_shift=8.0}",
    "train.lr=1e-2",
)
WEIGHTS = ("train.batch_size=32", "train.lr=1e-3")
FIRST, LATER = ("train.lr=1e-3",), ("train.lr=5e-4",)
WARMUP, DECAY = 0.05, 0.4  # shares of a lesson's seconds


@dataclass
class School:
    """One way of teaching: what it has learned so far, and what it took."""

    catalog: Catalog
    folder: Path
    polish: PolishSettings
    told: dict[str, float]

    def lesson(self, name: str, seconds: float, *overrides: str, look: bool = False) -> Release:
        """Train for so many processor seconds; returns the model, of averaged weights."""
        settings = run_settings(load_profile("tiny", [*PLAIN, *overrides]))
        run = prepare_run(self.catalog, self.folder / "runs" / name, settings, models=self.folder / "models")
        torch.manual_seed(0)
        engine = Engine(run.job.module(), run.job.settings, 1, torch.device("cpu"))
        size, step, spent = run.job.settings.batch_size, 0, 0.0
        while spent < seconds:
            began, share = time.process_time(), spent / seconds
            batch = run.stream.batch(range(step * size, (step + 1) * size)).to("cpu", torch.float32)
            engine.accumulate(batch)
            engine.step(settings.train.lr * min(1.0, (share + 0.01) / WARMUP, (1 - share) / DECAY))
            step += 1
            engine.update_ema(step)
            spent += time.process_time() - began
        self.told[f"{name} steps"], self.told[f"{name} seconds"] = step, round(spent, 1)
        with engine.ema_weights(), torch.no_grad():
            tensors = {key: value.clone() for key, value in engine.module.trainable_state().items()}
            if look:
                row = run.job.evaluate.row([run.job.evaluate.measure(engine.module, 0, 1)])
                self.told |= {key: value for key, value in row.items() if not key.startswith("gap_of/")}
        engine.close()
        return self._kept(run, tensors)

    def adapters(self, release: Release, seconds: float | None) -> str:
        """Adapters of clips that train, polished for so many seconds or as predicted; returns their name."""
        backbone = load_profile("tiny").backbone
        polishing = None if seconds is None else self.polish
        stage = PredictAdapters(self.catalog, release, backbone, polishing)
        name = release.model_id if polishing is None else polished_name(release.model_id, polishing, 0)
        trains = (col("status") == Status.ACCEPTED).and_(col("split") == Split.TRAIN)
        clips = sorted(self.catalog.scan("clips", ["clip_id"], trains)["clip_id"].to_pylist())
        began, count = time.process_time(), 0
        for clip in clips:
            if seconds is not None and count > 1 and time.process_time() - began > seconds:
                break
            (made,) = stage(pa.table({"key": [clip]})).to_pylist()
            if made["reason"] is None:
                keep_adapters(self.catalog, name, {clip: _array(made["vector"])})
                count += 1
        self.told["adapters"], self.told["adapters seconds"] = count, round(time.process_time() - began, 1)
        return name

    def _kept(self, run, tensors: dict[str, torch.Tensor]) -> Release:
        settings, backbone = run.settings, locate_backbone(run.settings.backbone)
        facts = {
            "method": settings.method.model_dump(mode="json"),
            "categories": list(run.stream.plan.categories),
            "backbone": settings.backbone.model_dump(mode="json"),
            "transformer": backbone.transformer_id,
            "encoder_id": backbone.encoder_id,
        }
        untrained = run.teacher.auxiliary() if run.teacher is not None else {}
        made = publish_tensors({**tensors, **untrained}, self.folder / "models", torch.bfloat16, facts)
        row = {"model_id": made.model_id, "method": settings.method.kind, "created_at": datetime.now(UTC)}
        self.catalog.upsert("models", [row | {"path": keep_model(self.catalog, made.path)}])
        return made


def clips(school: School, seconds: float) -> None:
    """Pairs alone."""
    school.lesson("pairs", seconds, *FIRST, look=True)


def categories(school: School, seconds: float) -> None:
    """As the shipped pocket hypernetwork was taught."""
    baseline = school.lesson("categories", 0.4 * seconds, *BASELINE)
    name = school.adapters(baseline, None)
    taught = school.lesson("weights", 0.25 * seconds, *WEIGHTS, f"train.teacher={name}", look=True)
    _then_pairs(school, taught, 0.35 * seconds)


def polished(school: School, seconds: float) -> None:
    """Without names and categories, but for the pairs before and after."""
    first = school.lesson("first pairs", 0.2 * seconds, *FIRST)
    name = school.adapters(first, 0.42 * seconds)
    asked = (*WEIGHTS, f"train.teacher={name}", f"train.start_from={first.path}")
    _then_pairs(school, school.lesson("weights", 0.15 * seconds, *asked, look=True), 0.23 * seconds)


def _then_pairs(school: School, taught: Release, seconds: float) -> None:
    before = {
        key: school.told.pop(key) for key in list(school.told) if key.startswith(("gap_", "loss_", "pairs_"))
    }
    school.told |= {f"{key} after weights": value for key, value in before.items() if key.startswith("gap_")}
    school.lesson("pairs", seconds, *LATER, f"train.start_from={taught.path}", look=True)


WAYS = {way.__name__: way for way in (clips, categories, polished)}


def _array(values: Sequence[float]):
    return pa.array(values, pa.float32()).to_numpy()


@contextmanager
def alone(folder: Path):
    """A process group of this process, which DeepSpeed asks for."""
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    dist.init_process_group("gloo", store=dist.FileStore(str(folder / "store"), 1), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def main(given: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "workdir", type=Path, help="of the `tiny` profile, its clips encoded; nothing is changed"
    )
    parser.add_argument("--seconds", type=float, default=180.0, help="of the processor, for each way")
    parser.add_argument("--polish", type=int, default=10, metavar="N", help="steps for each clip's adapter")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args(given)
    torch.set_num_threads(1)
    found = {}
    with TemporaryDirectory() as top, alone(Path(top)):
        for way in arguments.only:
            folder = Path(top) / way
            shutil.copytree(arguments.workdir / "catalog", folder / "catalog")
            polish = PolishSettings(steps=arguments.polish)
            school = School(Catalog.open(str(folder / "catalog")), folder, polish, {})
            WAYS[way](school, arguments.seconds)
            found[way] = {key: round(value, 4) for key, value in school.told.items()}
            print(json.dumps({way: found[way]}), flush=True)
    print(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
