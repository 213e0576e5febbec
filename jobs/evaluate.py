"""`video2lora evaluate`: a model's clips, measured and compared, as a page, Markdown and JSON."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog.snapshots.named import NOW, named
from catalog.store import Catalog
from jobs.errors import JobError
from jobs.job import Job, say
from jobs.report.caveats import caveats
from jobs.report.evaluation import write_evaluation
from jobs.report.evaluation_tables import summary_lines
from jobs.workspace import Workspace
from pipeline.errors import PipelineError
from pipeline.evaluation.choices import BadChoices, judged, read_choices
from pipeline.evaluation.evaluate import contestant, items_to_measure, result
from pipeline.evaluation.judge import find_classifier, judge_file, train_judge
from pipeline.evaluation.make import clips_due, make_clips
from pipeline.evaluation.measure import measure_clips, measures_due
from pipeline.evaluation.measured import Evaluation
from pipeline.evaluation.metrics import chosen_metrics
from pipeline.evaluation.networks import Measuring, plan_measuring
from pipeline.evaluation.plan import EvaluationPlan, plan_evaluation
from pipeline.evaluation.store import EvaluationStore
from pipeline.models import find_model
from training.evaluation.weights import Unavailable
from training.release import Release

FOLDER = "evaluations"


class NothingMade(PipelineError):
    """A model that generated no clip at all."""


def evaluate_job(
    workspace: Workspace,
    model: str | None,
    against: str | None,
    snapshot: str | None,
    metrics: str | None,
    as_json: bool,
    address: str | None,
) -> None:
    """Generate, measure, report; what was done before stands."""
    catalog, profile, settings = workspace.existing_catalog(), workspace.profile, workspace.profile.evaluate
    wanted = chosen_metrics(metrics)
    releases = _models(workspace, catalog, model, against)
    versions = named(catalog, snapshot or NOW)
    view = catalog.at(versions)
    plan = plan_evaluation(
        view, profile.pairs, settings.per_category, settings.seed, settings.effect_clips, snapshot or NOW
    )
    measuring = plan_measuring(settings, profile.embed, wanted)
    saved = find_classifier(settings) if "effect" in wanted else None
    sides = tuple(
        contestant(view, each, profile.backbone, profile.generate, profile.pairs, wanted) for each in releases
    )
    store = EvaluationStore(workspace.folder(FOLDER).absolute())
    files = [*(each.path for each in releases), *measuring.files.values(), *([saved] if saved else [])]
    with Job("evaluate", workspace, address, ray=False, reads=[*map(str, files)]) as job:
        told = (lambda text: None) if as_json else say
        told(f"  {_planned(plan)}")
        failures = {}
        for side in sides:
            name = side.release.model_id
            if clips_due(store, side, plan.cases, settings):
                job.start_workers()
            with job.step(f"generate with {name}") as progress:
                made = make_clips(job.catalog, store, side, plan.cases, settings, progress)
            failures[name] = made.failures
            told(f"  {made.made} clips generated, {made.kept} stood before" + _failed(made.failures))
            if not any(map(store.is_made, side.keys(plan.cases))):
                raise NothingMade(f"{name} generated no clip. {next(iter(made.failures.values()))}")
        if "effect" in wanted:
            with job.step("classifier of effects") as progress:
                measuring = _judged(job, view, store, plan, measuring, saved, progress)
        evaluation = Evaluation(plan, sides, measuring, wanted, settings, store)
        items = items_to_measure(evaluation)
        if measures_due(store, measuring, items):
            job.start_workers()
        with job.step("measure") as progress:
            measured = measure_clips(view, store, measuring, items, settings, profile.embed, progress)
        told(
            f"  {measured.measured} clips measured, {measured.kept} stood before" + _failed(measured.failures)
        )
        facts = {
            "name": _name(releases, snapshot),
            "snapshot": snapshot or NOW,
            "versions": versions.versions,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "caveats": _caveats(workspace, releases),
            "unreadable": measured.failures,
        }
        found = facts | result(evaluation, failures)
        with job.step("write the pages"):
            _copy_real(view, store, plan)
            _keep_people(store.folder, found)
            files = write_evaluation(store, found)
        job.report["evaluation"] = {"files": [str(file) for file in files], "name": found["name"]}
        if as_json:
            print(json.dumps(found, default=str))
            return
        for line in summary_lines(found):
            say(line)
        for file in files:
            say(f"Open {file}" if file.suffix == ".html" else str(file))


def choices_job(workspace: Workspace, file: Path, as_json: bool) -> None:
    """Take what a person chose on a blind page into the evaluation that it belongs to."""
    workspace.existing_catalog()
    said = read_choices(file)
    store = EvaluationStore(workspace.folder(FOLDER).absolute())
    for path in sorted(store.folder.glob("*.json")):
        found = json.loads(path.read_text("utf-8"))
        comparison = found.get("comparison")
        if comparison and comparison["id"] == said["comparison"]:
            chosen = judged(comparison, said)
            # The same person's newer file takes the place of the older.
            others = [each for each in comparison["people"] if each["person"] != chosen["person"]]
            comparison["people"] = [*others, chosen]
            files = write_evaluation(store, found)
            if as_json:
                print(json.dumps(chosen))
                return
            whole = chosen["all"]
            say(
                f"{chosen['person']} preferred {comparison['models'][0]} to {comparison['models'][1]} on"
                f" {100 * whole['value']:.0f} % of {whole['items']} pairs (of {chosen['of']}; ties: half)."
            )
            say(f"Open {files[0]}")
            return
    raise BadChoices(
        f"{file} is of comparison {said['comparison'][:40]!r}, and no evaluation in {store.folder} is that"
        " one. Name the working directory whose blind page was used."
    )


def _models(workspace: Workspace, catalog: Catalog, model: str | None, against: str | None) -> list[Release]:
    found = [find_model(catalog, workspace.folder("models"), model)]
    if against is not None:
        other = find_model(catalog, workspace.folder("models"), against)
        if other.model_id == found[0].model_id:
            raise JobError(
                f"--against names {other.model_id}, which is the model itself; name another model_id, or"
                " pocket."
            )
        found.append(other)
    return found


def _judged(
    job: Job,
    view: Catalog,
    store: EvaluationStore,
    plan: EvaluationPlan,
    measuring: Measuring,
    saved: Path | None,
    progress: Any,
) -> Measuring:
    """With the classifier that was saved or that the catalogue's own clips teach; or why there is none."""
    settings = job.workspace.profile.evaluate
    try:
        file = saved or judge_file(store, plan.teachers, settings)
    except Unavailable as reason:
        return measuring.lacking("effect", str(reason))
    if not file.is_file():
        job.start_workers()
        train_judge(view, file, plan.teachers, settings, progress)
    return measuring.judged(file)


def _planned(plan: EvaluationPlan) -> str:
    kinds = {case.category for case in plan.cases}
    text = f"{len(plan.cases)} held-out clips of {len(kinds)} categories"
    for name, why in sorted(plan.left_out.items()):
        text += f"\n  {name} is left out: {why}"
    return text


def _failed(failures: dict[str, str]) -> str:
    if not failures:
        return ""
    return f", {len(failures)} failed, the first because: {next(iter(failures.values()))}"


def _caveats(workspace: Workspace, releases: list[Release]) -> list[str]:
    said: list[str] = []
    for release in releases:
        said += [each for each in caveats(workspace.profile.backbone, release) if each not in said]
    return said


def _name(releases: list[Release], snapshot: str | None) -> str:
    """What the evaluation's files are called."""
    words = "-against-".join(release.model_id for release in releases)
    if snapshot is not None:
        words += "-on-" + snapshot
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", words)[:150].strip("-.")


def _copy_real(view: Catalog, store: EvaluationStore, plan: EvaluationPlan) -> None:
    """Put the references and the targets beside what was generated, for the page."""
    from training.files import write_atomically

    ids = {case.reference_id for case in plan.cases} | set(plan.targets)
    missing = sorted(clip for clip in ids if not store.real(clip).is_file())
    for at in range(0, len(missing), 16):
        for clip, video in view.videos(missing[at : at + 16]).items():
            write_atomically(store.real(clip), video)


def _keep_people(folder: Path, found: dict[str, Any]) -> None:
    """What people chose of the same comparison stays."""
    file = folder / f"{found['name']}.json"
    if not found["comparison"] or not file.is_file():
        return
    before = json.loads(file.read_text("utf-8")).get("comparison") or {}
    if before.get("id") == found["comparison"]["id"]:
        found["comparison"]["people"] = before.get("people", [])
