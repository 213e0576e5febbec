"""`video2lora train`: pairs of the catalogue in, a published model out."""

from typing import Any

from catalog.snapshots.named import named
from jobs.errors import NothingToDo
from jobs.job import Job, say
from jobs.profile import Profile
from jobs.report.gap import gap_rows
from jobs.workspace import Workspace, code_revision
from pipeline.prepare import plan_training, prepare_run
from pipeline.run import RunSettings
from training.methods.registry import require_pairs
from training.release import Release
from training.run.job import TrainResult


def train_step(job: Job, go_on: bool = False, snapshot: str | None = None) -> Release:
    """Train on what the catalogue holds, publish the model and record its lineage.

    Args:
        go_on: from the newest run on these data, though settings that decide its result have changed.
        snapshot: name of one; None is the catalogue as it is now.
    """
    workspace, settings = job.workspace, run_settings(job.workspace.profile)
    read = None if snapshot is None else named(job.catalog, snapshot)
    with job.step("prepare training"):
        runs = workspace.folder("runs")
        run = prepare_run(
            job.catalog, runs, settings, go_on, read, workspace.runs_uri, workspace.folder("models")
        )
    for sentence in run.sentences():
        say(f"  {sentence}")
    with job.step("train") as progress:
        progress(0, workspace.profile.train.steps)
        result = run.train(lambda done, total, row: progress(done, total, _brief(row)))
    release, job.report["training"] = run.publish(
        job.catalog, result, workspace.folder("models"), code_revision()
    )
    for sentence in _outcome(job.report["training"], result):
        say(f"  {sentence}")
    return release


def train_job(
    workspace: Workspace,
    address: str | None,
    plan_only: bool = False,
    go_on: bool = False,
    snapshot: str | None = None,
) -> None:
    """Run `video2lora train`."""
    if plan_only:
        planned = plan_training(run_settings(workspace.profile), _categories(workspace))
        for line in [*planned.table(), planned.sentence()]:
            say(line)
        return
    workspace.existing_catalog()
    require_pairs(workspace.profile.method)
    with Job("train", workspace, address) as job:
        release = train_step(job, go_on, snapshot)
        say(f"Model {release.model_id} in {release.path}")
        say(f"Watch it: tensorboard --logdir {workspace.root / 'runs'}")


def run_settings(profile: Profile) -> RunSettings:
    """The sections of a profile that a training run takes."""
    return RunSettings(
        profile.backbone,
        profile.method,
        profile.pairs,
        profile.train,
        profile.generate,
        profile.model_dump(mode="json"),
    )


def _categories(workspace: Workspace) -> tuple[str, ...]:
    """Those of the catalogue; where there is none yet, as many as the paper has."""
    try:
        rows = workspace.existing_catalog().scan("categories", ["category_id"])
    except NothingToDo:
        return tuple(map(str, range(200)))
    return tuple(sorted(rows["category_id"].to_pylist()))


def _brief(row: dict) -> dict:
    return {name: row[name] for name in ("loss", "grad_norm", "step_seconds") if name in row}


def _outcome(training: dict[str, Any], result: TrainResult) -> list[str]:
    said = []
    if result.resumed_from >= result.step:
        said.append("this run was finished before; nothing was trained again")
    elif result.resumed_from:
        said.append(f"went on from step {result.resumed_from}")
    said.append(
        f"loss {training['loss_begin']:.4f} → {training['loss_end']:.4f} in {training['steps']} steps, "
        f"{training['step_seconds']:.2f} s a step, {100 * training['data_wait']:.1f} % of it waiting for data"
    )
    if training["fewer_workers"]:
        said.append(training["fewer_workers"])
    return [*said, *(": ".join(row) for row in gap_rows(training["evaluation"]))]
