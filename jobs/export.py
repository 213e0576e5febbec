"""`video2lora export` and `video2lora licences`."""

import json
from dataclasses import asdict
from pathlib import Path

from catalog.licences import licences, without
from catalog.snapshots.named import NOW, named
from jobs.console import out, print_table, step
from jobs.errors import JobError
from jobs.workspace import Workspace
from pipeline.export import ExportSettings, export

_SHOWN = 20


class UnknownLayout(JobError):
    """A layout that no export has."""


def export_job(
    workspace: Workspace,
    format: str,
    folder: Path,
    snapshot: str | None,
    where: str | None,
    licence: list[str] | None,
    split: list[str] | None,
    layout: str | None,
    as_json: bool,
) -> None:
    """Write a data set, and say what is in it and what was left out."""
    if layout not in (None, "atlas"):
        raise UnknownLayout(f"--layout {layout!r} is none; the one there is, is atlas.")
    catalog = workspace.existing_catalog()
    terms = tuple(licence) if licence else workspace.profile.pairs.licences
    settings = ExportSettings(format, where, terms, tuple(split) if split else None, layout is not None)
    view = catalog.at(named(catalog, snapshot or NOW))
    if as_json:
        report = export(view, folder, settings)
        print(json.dumps(asdict(report), default=str))
        return
    with step("export") as progress:
        report = export(view, folder, settings, progress)
    out.print(f"  {report.clips} clips of {report.categories} categories in {report.path}", markup=False)
    for reason, count in sorted(report.left_out.items()):
        out.print(f"  left out: {count}, {reason}", markup=False)


def licences_job(workspace: Workspace, excluded: list[str] | None, least: int, as_json: bool) -> None:
    """Print the terms, and what would be left without some of them."""
    catalog = workspace.existing_catalog()
    found = licences(catalog)
    what_if = without(catalog, excluded, least) if excluded else None
    if as_json:
        told = {"licences": [asdict(each) for each in found], "what_if": what_if and asdict(what_if)}
        print(json.dumps(told, indent=2))
        return
    rows = [(each.licence, each.clips, each.categories, each.with_evidence) for each in found]
    print_table(("licence", "clips", "categories", "with evidence"), rows, f"{len(rows)} licences")
    if what_if is not None:
        out.print(what_if.sentence(), markup=False)
        for category, (now, then) in list(what_if.fallen.items())[:_SHOWN]:
            out.print(f"  {category}: {now} → {then}", markup=False)
