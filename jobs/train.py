"""`video2lora train`: pairs of the catalogue in, a published model out."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean, median

import pyarrow as pa
import torch

from catalog.models import keep_model
from catalog.snapshot import Snapshot
from catalog.store import Catalog
from jobs.job import Job, say
from jobs.profile import Profile
from jobs.workspace import Workspace, code_revision, write_json
from pipeline.pairing.held_out import HeldOutStream
from pipeline.pairing.plan import PairPlan
from pipeline.pairing.stream import PairStream, trainable_clips
from pipeline.sources.given import wanted_pairs
from pipeline.video.transcode import write_video
from training.backbones.cogvideox.backbone import PARTS, Backbone
from training.evaluation.while_training import EvaluateTransfer, SampleVideos
from training.planning.preflight import Preflight, preflight
from training.release import BuildVideo2LoRA, Release, find_start, publish, require_start
from training.run.devices import device_memory
from training.run.job import TrainJob, TrainResult
from training.run.loop import train
from training.run.settings import INCIDENTAL
from training.run.trackers import require_trackers
from training.run.watch import read_rows, shrunk


def train_step(job: Job) -> Release:
    """Train on what the catalogue holds now, publish the model and record its lineage.

    The run's folder is named by what decides the result: data, backbone, method and the settings that are
    not INCIDENTAL. The same request again goes on with that run, or finds it finished.
    """
    workspace, profile = job.workspace, job.workspace.profile
    with job.step("prepare training"):
        require_trackers(profile.train.trackers)
        backbone = Backbone.locate(profile.backbone, PARTS)
        clips = trainable_clips(job.catalog, backbone.encoder_id)
        given = wanted_pairs(job.catalog, profile.pairs)
        plan = PairPlan.build(clips, profile.pairs, given)
        planned = plan_training(profile, backbone)
        start = _start(profile, backbone)
        run = _open_run(workspace, profile, job.catalog, _digest([_rows(clips), given]), backbone, start)
        stream = PairStream.open(job.catalog.at(run.snapshot), backbone.encoder_id, profile.pairs)
        task = _task(run, profile, planned, stream, job.catalog.spec.fps)
    say(
        f"  {plan.counts['targets']} clips of {plan.counts['categories']} categories can be paired; "
        f"run {run.run_id}, {profile.train.steps} steps"
    )
    if start is not None:
        say(f"  begins with {start.model_id}, not with random weights")
    if given:
        say(f"  {plan.counts['given']} of the {len(given)} pairs that the data set gives are used")
    for category in plan.lonely_categories:
        say(f"    left out: {category} has one usable clip, and a pair needs two")
    for line in planned.table():
        say(f"    {line}")
    say(f"  {planned.sentence()}")
    if profile.train.evaluate_every and task.evaluate is None:
        say("  no clip is held out, so no transfer gap and no samples while it trains (cluster.val_fraction)")
    with job.step("train") as progress:
        result = train(task, stream, lambda done, total, row: progress(done, total, _brief(row)))
    release = publish(
        result.checkpoint,
        workspace.folder("models"),
        torch.bfloat16,
        {
            "method": profile.method.model_dump(mode="json"),
            "backbone": profile.backbone.model_dump(mode="json"),
            "transformer": backbone.transformer_id,
            "encoder_id": backbone.encoder_id,
            "run_id": run.run_id,
            "steps": result.step,
            "started_from": start and start.model_id,
        },
    )
    job.report["training"] = _summary(result, release, profile)
    _record(job, run, release, task)
    _say_result(job.report["training"], result)
    return release


def train_job(workspace: Workspace, address: str | None, plan_only: bool = False) -> None:
    """`video2lora train`."""
    if plan_only:
        profile = workspace.profile
        planned = plan_training(profile, Backbone.locate(profile.backbone, ["transformer", "vae"]))
        for line in [*planned.table(), planned.sentence()]:
            say(line)
        return
    workspace.existing_catalog()
    with Job("train", workspace, address) as job:
        release = train_step(job)
        say(f"Model {release.model_id} in {release.path}")
        say(f"Watch it: tensorboard --logdir {workspace.root / 'runs'}")


def plan_training(profile: Profile, backbone: Backbone) -> Preflight:
    """What a worker will need, before one is asked for; see `preflight` for what it raises."""
    settings = profile.train
    names = _cluster_gpus()
    on_gpu = settings.device == "cuda" or (
        settings.device == "auto" and bool(torch.cuda.is_available() if names is None else names)
    )
    capacity = device_memory(settings.max_workers, on_gpu, names or ())
    return preflight(_build(profile), backbone, settings, capacity)


def _cluster_gpus() -> list[str] | None:
    """Kinds of GPU of the Ray that this process is part of, empty where it has none; None without Ray."""
    import ray

    if not ray.is_initialized():
        return None
    resources = ray.cluster_resources()
    kinds = [name.partition(":")[2] for name in resources if name.startswith("accelerator_type:")]
    return (kinds or ["unknown"]) if resources.get("GPU", 0) > 0 else []


def _build(profile: Profile) -> BuildVideo2LoRA:
    train = profile.train
    return BuildVideo2LoRA(
        profile.backbone,
        profile.method,
        train.min_snr_gamma,
        train.seed,
        train.start_from,
        train.timestep_shift,
    )


def _start(profile: Profile, backbone: Backbone) -> Release | None:
    """The model that the run begins with, checked before a worker is asked for."""
    if profile.train.start_from is None:
        return None
    start = find_start(profile.train.start_from)
    require_start(start, backbone.transformer_id, profile.method)
    return start


def _task(run: "Run", profile: Profile, planned: Preflight, stream: PairStream, fps: int) -> TrainJob:
    """The loop's job; evaluation and samples where clips are held out."""
    settings = planned.settings
    held_out = HeldOutStream.open(stream, settings.evaluation_pairs) if settings.evaluate_every else None
    sample = None
    if held_out is not None and settings.samples:
        sample = SampleVideos(
            profile.backbone,
            held_out,
            settings.samples,
            partial(write_video, fps=fps),
            profile.generate.steps,
            profile.generate.guidance,
            profile.generate.adapter_guidance,
        )
    return TrainJob(
        settings=settings,
        module=_build(profile),
        run_dir=run.path,
        run_id=run.run_id,
        identity=run.identity,
        config=profile.model_copy(update={"train": settings}).model_dump(mode="json"),
        evaluate=None if held_out is None else EvaluateTransfer(held_out, settings.batch_size),
        sample=sample,
        flops_per_sample=planned.flops_per_sample,
    )


@dataclass(frozen=True)
class Run:
    """A training run's folder, its frozen data, and what its tensors belong to."""

    run_id: str
    path: Path
    snapshot: Snapshot
    identity: dict


def _open_run(
    workspace: Workspace,
    profile: Profile,
    catalog: Catalog,
    data: str,
    backbone: Backbone,
    start: Release | None,
) -> Run:
    identity = {
        "method": profile.method.model_dump(mode="json"),
        "transformer": backbone.transformer_id,
        "encoder": backbone.encoder_id,
        "data": data,
        "pairs": profile.pairs.model_dump(mode="json"),
        "start": start and start.model_id,
    }
    decisive = profile.train.model_dump(mode="json", exclude=INCIDENTAL | {"start_from"})
    run_id = f"train-{_digest([identity, decisive])[:10]}"
    path = workspace.folder("runs") / run_id
    stored = path / "snapshot.json"
    if not stored.exists():
        # Written before the first step: a run that goes on reads the rows it began with.
        write_json(stored, json.loads(catalog.snapshot().to_json()))
    return Run(run_id, path, Snapshot.from_json(stored.read_text("utf-8")), identity)


def _rows(clips: pa.Table) -> list[tuple]:
    return sorted(tuple(row.values()) for row in clips.to_pylist())


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _summary(result: TrainResult, release: Release, profile: Profile) -> dict:
    rows = read_rows(result.metrics_path)
    tenth = max(1, len(rows) // 10)
    later = rows[min(2, len(rows) - 1) :]  # the first steps pay for compiling and for filling the stream
    return {
        "model_id": release.model_id,
        "model_path": str(release.path),
        "bytes": release.bytes,
        "steps": result.step,
        "resumed_from": result.resumed_from,
        "workers": profile.train.max_workers,
        "fewer_workers": shrunk(rows, profile.train.max_workers),
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


def _record(job: Job, run: Run, release: Release, task: TrainJob) -> None:
    """The model's row: lineage first, so that a model is never without it."""
    job.catalog.upsert(
        "models",
        [
            {
                "model_id": release.model_id,
                "run_id": run.run_id,
                "method": "video2lora",
                "path": keep_model(job.catalog, release.path),
                "snapshot": run.snapshot.to_json(),
                "config": json.dumps(task.config),
                "code_revision": code_revision(),
                "metrics": json.dumps(job.report["training"]),
                "bytes": release.bytes,
                "created_at": datetime.now(UTC),
            }
        ],
    )


def _brief(row: dict) -> dict:
    return {name: row[name] for name in ("loss", "grad_norm", "step_seconds") if name in row}


def _say_result(training: dict, result: TrainResult) -> None:
    if result.resumed_from >= result.step:
        say("  this run was finished before; nothing was trained again")
    elif result.resumed_from:
        say(f"  went on from step {result.resumed_from}")
    say(
        f"  loss {training['loss_begin']:.4f} → {training['loss_end']:.4f} in {training['steps']} steps, "
        f"{training['step_seconds']:.2f} s a step, {100 * training['data_wait']:.1f} % of it waiting for data"
    )
    if training["fewer_workers"]:
        say(f"  {training['fewer_workers']}")
    for group in ("seen", "unseen"):
        if (gap := training["evaluation"].get(f"gap_{group}")) is not None:
            low, high = (100 * training["evaluation"][f"gap_{group}_{end}"] for end in ("low", "high"))
            say(
                f"  transfer gap, {group} categories: {100 * gap:.2f} % ({low:.2f} to {high:.2f}) over "
                f"{training['evaluation'][f'pairs_{group}']} held-out pairs"
            )
