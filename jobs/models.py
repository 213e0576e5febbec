"""`video2lora models` and `trace`: which models there are, what they come from, what comes from them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from catalog.champions import Mark, Model, marks, model_of, models
from catalog.events import history
from catalog.snapshots import compare
from jobs.console import cell, out, print_table
from jobs.job import Job, say
from jobs.workspace import Workspace, code_revision
from pipeline.imported import import_model
from pipeline.trace import Trace, trace

_SHOWN = 12
# What the listing says of how well a model did.
_FIGURES = ("steps", "loss_end")


def list_models(workspace: Workspace, as_json: bool) -> None:
    """Print all, the newest first; the champion is named, and what withdrawn clips mean for each."""
    catalog = workspace.existing_catalog()
    found, marked = models(catalog), marks(catalog)
    if as_json:
        print(json.dumps([_plain(each, marked) for each in found], indent=2, default=str))
        return
    rows = [
        (
            each.model_id,
            "champion" if each.champion else "",
            f"{each.created_at:%Y-%m-%d %H:%M}",
            each.method,
            *(each.metrics.get(name) for name in _FIGURES),
            marked[each.model_id].sentence() if each.model_id in marked else "",
        )
        for each in found
    ]
    champion = next((each.model_id for each in found if each.champion), None)
    last = f"{len(found)} models; " + (
        f"{champion} is the champion" if champion else "none is the champion: the newest is used"
    )
    print_table(("model", "", "made", "method", *_FIGURES, "mark"), rows, last if found else "No model yet.")


def import_released(workspace: Workspace, folder: Path) -> None:
    """Take a released checkpoint in, and say how it is used."""
    profile = workspace.profile
    with Job("import", workspace, ray=False) as job, job.step("import"):
        release = import_model(
            job.catalog,
            folder,
            workspace.folder("models"),
            profile.backbone,
            profile.generate,
            profile.model_dump(mode="json"),
            code_revision(),
        )
    job.report["model"] = release.model_id
    say(f"Model {release.model_id} in {release.path}")
    say(f"Use it: video2lora generate -w {workspace.name} --model {release.model_id} --reference …")


def show_model(workspace: Workspace, model_id: str, as_json: bool) -> None:
    """Print one: what it was trained on and how, what the gate said, when it was promoted."""
    catalog = workspace.existing_catalog()
    model, marked = model_of(catalog, model_id), marks(catalog)
    acts = [e for e in history(catalog) if "models" in e.changed and e.payload.get("model") == model.model_id]
    if as_json:
        print(json.dumps(_plain(model, marked) | {"acts": [asdict(e) for e in acts]}, indent=2, default=str))
        return
    pairs = {
        "model": model.model_id,
        "champion": "yes" if model.champion else "no",
        "made": f"{model.created_at:%Y-%m-%d %H:%M} UTC, run {model.run_id}, code {model.code_revision}",
        "method": model.method,
        "began with": model.started_from or "random weights",
        "taught by": model.metrics.get("taught_by") or "its clips",
        "trained on": f"the snapshot model:{model.model_id}, see `video2lora snapshot compare`"
        if model.imported_from is None
        else f"no clip of this catalogue: it was imported from {model.imported_from}",
        **{name: model.metrics.get(name) for name in ("steps", "loss_begin", "loss_end", "seconds")},
        "gate": "; ".join(model.gate.get("reasons", ())) or "not judged",
    }
    if model.model_id in marked:
        pairs["MARKED"] = marked[model.model_id].sentence()
    _print_pairs(pairs)
    for event in acts[:_SHOWN]:
        undone = f", undone by {event.undone_by}" if event.undone_by else ""
        reason = f": {event.payload['reason']}" if event.payload.get("reason") else ""
        _line(f"{event.at:%Y-%m-%d %H:%M} {event.act} by {event.actor}{undone}{reason}")


def compare_models(workspace: Workspace, one: str, other: str, as_json: bool) -> None:
    """Print what differs between two: settings, figures, clips that they were trained on."""
    catalog = workspace.existing_catalog()
    a, b = model_of(catalog, one), model_of(catalog, other)
    settings = _differences(_flat(a.config), _flat(b.config))
    figures = _differences(_flat(a.metrics), _flat(b.metrics))
    data = compare(catalog.at(a.snapshot), catalog.at(b.snapshot))
    if as_json:
        found = {"settings": settings, "figures": figures, "data": asdict(data)}
        print(json.dumps({"models": [a.model_id, b.model_id]} | found, indent=2, default=str))
        return
    for what, rows in (("setting", settings), ("figure", figures)):
        told = [(name, *values) for name, values in rows.items()]
        print_table((what, a.model_id, b.model_id), told, f"{len(told)} {what}s differ")
    _line(
        f"trained on {data.clips[0]} and {data.clips[1]} clips: {len(data.came)} came, "
        f"{len(data.went)} went, {len(data.moved)} moved to another category"
    )


def trace_file(workspace: Workspace, file: Path, as_json: bool) -> None:
    """Print where a file comes from, as far as it says so and the catalogue knows."""
    found = trace(workspace.existing_catalog(), file)
    if as_json:
        print(json.dumps(_traced(found), indent=2, default=str))
        return
    _print_pairs(
        {"file": found.file, **{f"says {name}": value for name, value in sorted(found.facts.items())}}
    )
    if found.shipped:
        _line("the model that comes with this project; it was trained on rendered effects alone")
    if (model := found.model) is not None:
        _print_pairs(
            {
                "model": f"{model.model_id}{', the champion' if model.champion else ''}, made "
                f"{model.created_at:%Y-%m-%d %H:%M} UTC by run {model.run_id}, code {model.code_revision}",
                "snapshot": f"model:{model.model_id}, {found.clips} clips that train",
                "licences": _counts(found.licences or {}),
                "categories": _counts(found.categories or {}),
            }
        )
    if found.mark is not None:
        _print_pairs({"MARKED": found.mark.sentence()})
    if found.reference is not None:
        told = {name: value for name, value in found.reference.items() if value is not None}
        _print_pairs({f"reference {name}": value for name, value in told.items()})
        _print_pairs({"adapter": "stored in the catalogue" if found.adapter else "not stored"})
    for sentence in found.missing:
        _line(sentence)


def _plain(model: Model, marked: Mapping[str, Mark]) -> dict[str, Any]:
    mark = marked.get(model.model_id)
    return asdict(model) | {
        "snapshot": model.snapshot.versions,
        "mark": mark and asdict(mark) | {"sentence": mark.sentence()},
    }


def _traced(found: Trace) -> dict[str, Any]:
    marked = {found.model.model_id: found.mark} if found.model and found.mark else {}
    model = found.model and _plain(found.model, marked)
    return asdict(found) | {"file": str(found.file), "model": model, "mark": model and model["mark"]}


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = sorted(one.keys() | other.keys())
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _counts(counts: Mapping[str, int]) -> str:
    named = [f"{name} ({count})" for name, count in list(counts.items())[:_SHOWN]]
    more = len(counts) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _print_pairs(pairs: Mapping[str, Any]) -> None:
    for name, value in pairs.items():
        _line(f"{cell(name).plain:<12}  {cell(value).plain}")


def _line(text: str) -> None:
    out.print(f"  {cell(text).plain}", markup=False)
