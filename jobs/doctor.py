"""`video2lora doctor`: whether a machine, a working directory and a cluster are fit for a profile's work."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import typer
from rich.text import Text

from catalog.errors import CatalogError
from catalog.store import Catalog
from jobs.console import out
from jobs.errors import JobError
from jobs.ray_session import joins, ray_session
from jobs.train import run_settings
from jobs.workspace import Workspace
from pipeline.checkup.catalogue import look_at_catalogue
from pipeline.checkup.cluster import look_at_machines, look_at_resources
from pipeline.checkup.environment import look_at_gpus, look_at_packages, look_at_python
from pipeline.checkup.finding import Finding, Verdict, refused
from pipeline.checkup.room import (
    look_at_bucket,
    look_at_disk,
    look_at_folder,
    look_at_memory,
    look_at_shared_memory,
)
from pipeline.errors import PipelineError
from training.errors import TrainingError

UNFIT = 2
_SIGNS = {Verdict.OK: ("✓", "green"), Verdict.WARNING: ("!", "yellow"), Verdict.PROBLEM: ("✗", "bold red")}
# As many categories as the paper has: with more, no method needs less.
_CATEGORIES = tuple(map(str, range(200)))


def doctor_job(workspace: Workspace, address: str | None, as_json: bool) -> None:
    """Look at everything, say what is found as it is found; status 2 where something is in the way."""
    found = []
    for finding in look(workspace, address):
        found.append(finding)
        if not as_json:
            _say(finding)
    problems = [each for each in found if each.verdict is Verdict.PROBLEM]
    if as_json:
        print(json.dumps({"fit": not problems, "findings": [asdict(each) for each in found]}))
    else:
        warnings = sum(each.verdict is Verdict.WARNING for each in found)
        out.print(f"{len(found)} looked at: {len(problems)} problems, {warnings} warnings")
    if problems:
        raise typer.Exit(UNFIT)


def look(workspace: Workspace, address: str | None) -> Iterator[Finding]:
    """Everything that is looked at, in the order in which one thing stands on another."""
    # A look fetches nothing: what is not here is told.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    train = workspace.profile.train
    needs_gpu, wants_gpu = train.device == "cuda", train.precision == "bf16"
    yield look_at_python()
    yield look_at_packages()
    if not joins(address):
        yield from look_at_gpus(needs_gpu, wants_gpu)
    yield look_at_memory(workspace.profile.ingest.worker_memory_mb)
    yield from look_at_shared_memory()
    yield look_at_folder(workspace.root)
    yield look_at_disk(workspace.root)
    yield from _catalogue(workspace)
    weights = list(_weights(workspace))
    yield from weights
    if not joins(address):
        yield from _training(workspace, weights)
        return
    try:
        with ray_session(address):
            yield from _cluster(needs_gpu, wants_gpu)
            yield from _training(workspace, weights)
    except JobError as error:
        yield Finding("cluster", Verdict.PROBLEM, str(error))


def _catalogue(workspace: Workspace) -> Iterator[Finding]:
    remote = "://" in workspace.catalog_uri
    if not remote and not Path(workspace.catalog_uri).exists():
        yield Finding("catalogue", Verdict.OK, f"there is none in {workspace.name} yet")
        return
    try:
        catalog = workspace.catalog if remote else Catalog.open(workspace.catalog_uri)
    except (CatalogError, JobError) as error:
        yield Finding("catalogue", Verdict.PROBLEM, str(error))
        return
    if catalog.spec != workspace.profile.clip:
        wanted = workspace.profile.clip.spec_id
        said = f"It holds clips of {catalog.spec.spec_id}, and the profile is for {wanted}."
        yield Finding("catalogue", Verdict.PROBLEM, said, "Name the profile that it was made with.")
    if remote:
        yield look_at_bucket(catalog)
    yield from look_at_catalogue(catalog, workspace.root / "models")


def _weights(workspace: Workspace) -> Iterator[Finding]:
    from pipeline.weights import require_weights

    profile = workspace.profile

    def found() -> str:
        require_weights(profile.backbone, profile.embed, profile.train.start_from, profile.method.kind)
        return f"those of {profile.backbone.model} and of {profile.embed.model} are here"

    yield from refused("weights", found, PipelineError, TrainingError)


def _training(workspace: Workspace, weights: Iterable[Finding]) -> Iterator[Finding]:
    from pipeline.prepare import plan_training

    if any(each.verdict is Verdict.PROBLEM for each in weights):
        return  # what cannot be found cannot be counted

    def planned() -> str:
        return plan_training(run_settings(workspace.profile), _CATEGORIES).sentence()

    yield from refused("training", planned, PipelineError, TrainingError)


def _cluster(needs_gpu: bool, wants_gpu: bool) -> Iterator[Finding]:
    yield look_at_resources(needs_gpu, wants_gpu)
    yield from look_at_machines()


def _say(finding: Finding) -> None:
    sign, style = _SIGNS[finding.verdict]
    out.print(Text.assemble((f"{sign} ", style), f"{finding.about}: {finding.said}"))
    if finding.do:
        out.print(f"    {finding.do}", markup=False)
