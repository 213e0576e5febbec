"""A training run that settings ask for: every refusal that can be known before a worker is asked for."""

from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch

from catalog.snapshot import Snapshot
from catalog.store import Catalog
from pipeline.adapters import owner_of
from pipeline.begun import digest, fetch_runs, keep_run, open_place, place_run, read_snapshot
from pipeline.models import find_model
from pipeline.pairing.held_out import HeldOutStream
from pipeline.pairing.stream import PairStream
from pipeline.run import RunSettings, TrainingRun
from pipeline.video.transcode import write_video
from training.backbones.registry import locate_backbone
from training.build import BuildMethod, Teacher, require_start, require_teacher
from training.evaluation.while_training import EvaluateTransfer, SampleVideos
from training.methods.registry import require_pairs
from training.methods.settings import require_predictions
from training.planning.preflight import Preflight, preflight
from training.release import Release, find_start
from training.run.devices import device_memory
from training.run.job import TrainJob
from training.run.settings import TrainSettings
from training.run.trackers import require_trackers


def prepare_run(
    catalog: Catalog,
    runs: Path,
    settings: RunSettings,
    go_on: bool = False,
    snapshot: Snapshot | None = None,
    uri: str | None = None,
    models: Path | None = None,
) -> TrainingRun:
    """The run that these settings ask for on what the catalogue holds; the same request is the same run.

    Args:
        catalog: live; the run reads a snapshot of it.
        runs: the folder of all runs, shared by the workers.
        go_on: from the newest run on these data, though settings that decide its result have changed.
        snapshot: what to train on; None is the catalogue as it is now.
        uri: s3:// address of the copy of `runs` that counts instead, where workers share no disk.
        models: the folder of all models; None: beside `runs`.

    Raises:
        PipelineError, TrainingError: what cannot be trained, and what to do about it.
    """
    require_pairs(settings.method)
    require_trackers(settings.train.trackers)
    taught = settings.train.teacher
    if taught is not None:
        require_predictions(settings.method)
    backbone = locate_backbone(settings.backbone)
    now = snapshot or catalog.snapshot()
    method = settings.method
    stream = PairStream.open(
        catalog.at(now),
        backbone.encoder_id,
        settings.pairs,
        needs=method.needs,
        references=method.references_per_target,
        taught=taught,
    )
    categories = stream.plan.categories
    planned = plan_training(settings, categories)
    start = None
    if settings.train.start_from is not None:
        start = find_start(settings.train.start_from, settings.method.kind)
    if start is not None:
        require_start(start, backbone, settings.method, categories)
    teacher = None
    if taught is not None:
        shown = find_model(catalog, models or runs.parent / "models", owner_of(taught))
        require_teacher(shown, backbone, method, start)
        teacher = Teacher(taught, shown.path.resolve(), stream.spread())
    identity = {
        "method": settings.method.model_dump(mode="json"),
        "transformer": backbone.transformer_id,
        "encoder": backbone.encoder_id,
        "data": digest([stream.rows(), stream.given]),
        "pairs": settings.pairs.model_dump(mode="json"),
        "start": start and start.model_id,
        **({} if teacher is None else {"teacher": teacher.name}),
    }
    if uri is not None:
        fetch_runs(uri, runs, identity)
    place = place_run(runs, identity, planned.settings, go_on)
    folder = open_place(runs, place, now.to_json(), planned.settings)
    if uri is not None:
        keep_run(uri, folder)
    snapshot = Snapshot.from_json(read_snapshot(folder))
    stream = stream.at(catalog.at(snapshot))
    job = TrainJob(
        settings=planned.settings,
        module=_build(settings, categories, start, teacher),
        run_dir=folder,
        run_uri=uri and f"{uri}/{place.run_id}",
        run_id=place.run_id,
        identity=identity,
        config=settings.config | {"train": planned.settings.model_dump(mode="json")},
        **_looks(settings, planned.settings, stream, catalog.spec.fps),
        flops_per_sample=planned.flops_per_sample,
    )
    return TrainingRun(settings, place, snapshot, stream, planned, start, teacher, job)


def plan_training(settings: RunSettings, categories: tuple[str, ...]) -> Preflight:
    """What a worker will need, before one is asked for; see `preflight` for what it raises."""
    backbone = locate_backbone(settings.backbone, ["transformer", "vae"])
    kinds = _cluster_gpus()
    gpus = bool(torch.cuda.is_available() if kinds is None else kinds)
    on_gpu = settings.train.device == "cuda" or (settings.train.device == "auto" and gpus)
    capacity = device_memory(settings.train.max_workers, on_gpu, kinds or ())
    teacher = None if settings.train.teacher is None else Teacher(settings.train.teacher)
    build = _build(settings, categories, teacher=teacher)
    return preflight(build, backbone, settings.train, capacity)


def _cluster_gpus() -> list[str] | None:
    """Kinds of GPU of the Ray that this process is part of, empty where it has none; None without Ray."""
    if not ray.is_initialized():
        return None
    resources = ray.cluster_resources()
    kinds = [name.partition(":")[2] for name in resources if name.startswith("accelerator_type:")]
    return (kinds or ["unknown"]) if resources.get("GPU", 0) > 0 else []


def _build(
    settings: RunSettings,
    categories: tuple[str, ...],
    start: Release | None = None,
    teacher: Teacher | None = None,
) -> BuildMethod:
    return BuildMethod(
        settings.backbone,
        settings.method,
        categories if settings.method.per_category else (),
        settings.train.seed,
        start and start.path.resolve(),
        teacher,
    )


def _looks(settings: RunSettings, resolved: TrainSettings, stream: PairStream, fps: int) -> dict[str, Any]:
    """Evaluation and samples while it trains; none where no clip is held out."""
    held_out = None
    if resolved.evaluate_every:
        held_out = HeldOutStream.open(stream.pairs(), resolved.evaluation_pairs)
    if held_out is None:
        return {}
    looks: dict[str, Any] = {"evaluate": EvaluateTransfer(held_out, resolved.batch_size)}
    if resolved.samples:
        looks["sample"] = SampleVideos(
            settings.backbone,
            held_out,
            resolved.samples,
            partial(write_video, fps=fps),
            settings.generate.steps,
            settings.generate.guidance,
            settings.generate.adapter_guidance,
        )
    return looks
