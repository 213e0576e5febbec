"""One training run: what it trains on, its sentences, its model and the model's lineage."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

import ray
import torch

from catalog.models import keep_model
from catalog.snapshot import Snapshot
from catalog.store import Catalog
from pipeline.begun import RunPlace, continued
from pipeline.pairing.plan import PairSettings
from pipeline.pairing.stream import PairStream
from pipeline.workers.room import require_processors
from training.backbones.registry import locate_backbone
from training.backbones.settings import BackboneSettings
from training.build import Teacher
from training.methods.registry import MethodSettings
from training.planning.preflight import Preflight
from training.release import Release, publish
from training.run.job import TrainJob, TrainResult
from training.run.loop import train
from training.run.room import workers_at_once
from training.run.settings import TrainSettings
from training.run.watch import read_rows, shrunk
from training.settings import GenerateSettings


@dataclass(frozen=True)
class RunSettings:
    """What decides a run; `config` is the complete configuration that these are part of, as JSON."""

    backbone: BackboneSettings
    method: MethodSettings
    pairs: PairSettings
    train: TrainSettings
    generate: GenerateSettings
    config: dict[str, Any]


@dataclass(frozen=True)
class TrainingRun:
    """A run that is ready to train: every refusal that can be known before a worker is asked for is over.

    Attributes:
        settings: of the run.
        place: which run it is, by what decides the result: data, backbone, method and decisive settings.
        snapshot: of the catalogue that the run reads, from its first step to its last.
        stream: the pairs.
        planned: memory and operations of a worker.
        start: the model that it begins with.
        teacher: whose adapters it learns to predict.
        job: what the loop is given.
    """

    settings: RunSettings
    place: RunPlace
    snapshot: Snapshot
    stream: PairStream
    planned: Preflight
    start: Release | None
    teacher: Teacher | None
    job: TrainJob

    def sentences(self) -> list[str]:
        """What a person wants to know before it begins."""
        counts, train_settings = self.stream.plan.counts, self.settings.train
        clips = f"{counts['targets']} clips of {counts['categories']} categories"
        said = [
            f"{clips} {'can be paired' if self.teacher is None else 'teach'}; run {self.place.run_id},"
            f" {train_settings.steps} steps of {self.settings.method.kind}",
            *self.place.said,
        ]
        if self.teacher is not None:
            said.append(
                f"learns to predict the adapters {self.teacher.name}; the loss is the share of their variance"
                " that is left unexplained"
            )
        if self.start is not None:
            said.append(f"begins with {self.start.model_id}, not with random weights")
        elif train_settings.start_from is not None:
            said.append(
                f"begins with random weights: no trained {self.settings.method.kind} comes with this backbone"
            )
        if "given" in counts:
            said.append(
                f"{counts['given']} of the {len(self.stream.given)} pairs that the data set gives are used"
            )
        if counts.get("other_licence"):
            said.append(
                f"left out: {counts['other_licence']} clips, whose licence `pairs.licences` does not name"
            )
        said += [
            f"left out: {category} has one usable clip, and a pair needs two"
            for category in self.stream.plan.lonely_categories
        ]
        if (gamma := self.settings.method.min_snr_gamma) is not None and self.teacher is None:
            said.append(_near_noise(self.settings.backbone, gamma))
        said += [*self.planned.table(), self.planned.sentence()]
        if train_settings.evaluate_every and self.job.evaluate is None:
            said.append(
                "no clip is held out, so no transfer gap and no samples while it trains"
                " (cluster.val_fraction)"
            )
        return said

    def train(self, progress: Callable[[int, int | None, dict], None] | None = None) -> TrainResult:
        """Train, or go on from the newest checkpoint; see `training.run.loop.train`."""
        if ray.is_initialized():
            asked = self.job.settings
            require_processors(workers_at_once(asked), asked.worker_cpus, self.stream.cpus_per_fetch)
        return train(self.job, self.stream, progress)

    def publish(
        self,
        catalog: Catalog,
        result: TrainResult,
        models: Path,
        code_revision: str,
        keep_row: Callable[[dict[str, Any]], object] | None = None,
    ) -> tuple[Release, dict[str, Any]]:
        """Make the model's folder in `models` and its row, lineage included; returns it and the summary.

        Args:
            keep_row: writes the row; None writes it to the catalogue at once.
        """
        settings, backbone = self.settings, locate_backbone(self.settings.backbone)
        release = publish(
            result.checkpoint,
            models,
            torch.bfloat16,
            {
                "method": settings.method.model_dump(mode="json"),
                "categories": list(self.stream.plan.categories),
                "backbone": settings.backbone.model_dump(mode="json"),
                "generate": settings.generate.model_dump(mode="json"),
                "transformer": backbone.transformer_id,
                "encoder_id": backbone.encoder_id,
                "run_id": self.place.run_id,
                "steps": result.step,
                "continues": _continues(self.job.run_dir),
                **(lineage := self._lineage()),
            },
            self.teacher and self.teacher.auxiliary(),
        )
        summary = _summary(result, release, settings.train) | lineage
        row = {
            "model_id": release.model_id,
            "run_id": self.place.run_id,
            "method": settings.method.kind,
            "path": keep_model(catalog, release.path),
            "snapshot": self.snapshot.to_json(),
            "config": json.dumps(self.job.config),
            "code_revision": code_revision,
            "metrics": json.dumps(summary),
            "bytes": release.bytes,
            "created_at": datetime.now(UTC),
        }
        if keep_row is None:
            catalog.upsert("models", [row])
        else:
            keep_row(row)
        return release, summary

    def _lineage(self) -> dict[str, str | None]:
        """What other models it has learned from, as the model's folder and its row say it."""
        told = {"started_from": self.start and self.start.model_id}
        return told if self.teacher is None else told | {"taught_by": self.teacher.name}


def _continues(folder: Path) -> dict[str, Any] | None:
    told = continued(folder)
    return told and {"run_id": told["run_id"], "step": told["step"]}


def _near_noise(backbone: BackboneSettings, gamma: float) -> str:
    """A warning: which effect it is shows only in noise, where this weighting hardly looks."""
    share = locate_backbone(backbone).meta_dit().objective.weight_near_noise(gamma)
    return (
        f"warning: method.min_snr_gamma={gamma:g} leaves {100 * share:.2f} % of the loss's weight to the last"
        " tenth of the timesteps, which decides the effect; null weighs all alike"
    )


def _summary(result: TrainResult, release: Release, settings: TrainSettings) -> dict[str, Any]:
    rows = read_rows(result.metrics_path)
    tenth = max(1, len(rows) // 10)
    later = rows[min(2, len(rows) - 1) :]  # the first steps pay for compiling and for filling the stream
    return {
        "model_id": release.model_id,
        "model_path": str(release.path),
        "bytes": release.bytes,
        "steps": result.step,
        "resumed_from": result.resumed_from,
        "workers": settings.max_workers,
        "fewer_workers": shrunk(rows, settings.max_workers),
        "seconds": round(result.seconds, 1),
        "step_seconds": median(row["step_seconds"] for row in later),
        "data_wait": fmean(row["data_wait"] for row in later),
        "loss_begin": fmean(row["loss"] for row in rows[:tenth]),
        "loss_end": fmean(row["loss"] for row in rows[-tenth:]),
        "evaluation": _evaluation(rows),
        "checkpoint": str(result.checkpoint),
        "metrics_path": str(result.metrics_path),
    }


def _evaluation(rows: list[dict]) -> dict[str, float]:
    """The newest look at held-out clips, by name without "eval/"; empty where none was taken."""
    looks = [row for row in rows if any(name.startswith("eval/") for name in row)]
    newest = looks[-1] if looks else {}
    return {name[5:]: value for name, value in newest.items() if name.startswith("eval/")}
