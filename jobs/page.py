"""The HTML report of a run: what a person looks at when it is over. Opens from disk."""

import json
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, select_autoescape
from lancedb.expr import col

from catalog.store import Catalog
from catalog.vocabulary import Outcome, Status
from jobs.pictures import MAX_ROWS, contact_sheet, loss_curve
from pipeline.video.transcode import read_clip

ASSETS = "report_files"
MAX_SHEETS = 60
MAX_REFUSED = 200


def write_page(
    root: Path,
    catalog: Catalog,
    report: dict[str, Any],
    commands: list[str],
    notes: list[str],
    name: str = "report",
) -> Path:
    """Write `root/<name>.html` and its pictures, in a folder beside it.

    Args:
        root: the workspace's folder.
        catalog: read for categories and outcomes.
        report: what goes into report.json; `training` and `generated` are shown where they are there.
        commands: what a person may type next.
        notes: sentences that stand above everything else.
    """
    folder = f"{name}_files"
    assets = root / folder
    assets.mkdir(exist_ok=True)
    sheets, hidden = _sheets(catalog, assets)
    training = report.get("training")
    if training:
        rows = [json.loads(line) for line in Path(training["metrics_path"]).read_text().splitlines()]
        loss_curve(rows, assets / "loss.png")
    outcomes, refused = _outcomes(catalog)
    versions = catalog.versions()
    text = _template().render(
        title=f"Video2LoRA {report['command']}",
        subtitle=f"{root} · {report['run_id']}",
        notes=notes,
        figures=_figures(report),
        results=report.get("generated", []),
        columns=3,
        loss_plot=f"{folder}/loss.png" if training else None,
        training=_training_rows(training) if training else [],
        sheets=sheets,
        more_categories=f"{hidden} more categories are not shown." if hidden else "",
        outcomes=outcomes,
        refused=refused[:MAX_REFUSED],
        all_refused=len(refused),
        steps=report["steps"],
        tables=[{"name": n, "rows": catalog.count(n), "version": v} for n, v in versions.items()],
        commands=commands,
    )
    path = root / f"{name}.html"
    path.write_text(text, "utf-8")
    return path


def _template():
    text = (resources.files("jobs") / "templates" / "report.html.j2").read_text("utf-8")
    return Environment(autoescape=select_autoescape(default=True, default_for_string=True)).from_string(text)


def _sheets(catalog: Catalog, assets: Path) -> tuple[list[dict[str, Any]], int]:
    """A contact sheet per category, largest categories first, and how many categories are left out."""
    clips = catalog.scan("clips", ["clip_id", "category_id"], col("status") == Status.ACCEPTED).to_pylist()
    members: dict[str, list[str]] = {}
    for clip in sorted(clips, key=lambda c: c["clip_id"]):
        members.setdefault(clip["category_id"] or "(none)", []).append(clip["clip_id"])
    facts = {row["category_id"]: row for row in catalog.scan("categories").to_pylist()}
    order = sorted(members, key=lambda name: (-len(members[name]), name))
    sheets = []
    for number, category in enumerate(order[:MAX_SHEETS]):
        shown = members[category][:MAX_ROWS]
        videos = catalog.videos(shown)
        # Numbered, because a category's name is a stranger's text.
        file = assets / f"category-{number:03d}.jpg"
        file.write_bytes(contact_sheet([read_clip(videos[clip_id]) for clip_id in shown]))
        row = facts.get(category, {})
        sheets.append(
            {
                "name": row.get("name") or category,
                "state": row.get("state") or ("without a label" if category == "(none)" else "as labelled"),
                "clips": len(members[category]),
                "image": f"{assets.name}/{file.name}",
            }
        )
    return sheets, max(0, len(order) - MAX_SHEETS)


def _outcomes(catalog: Catalog) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs counted by outcome and kind of reason, and all that did not become a clip of their own."""
    rows = catalog.scan("sources", ["source_uri", "outcome", "reason", "reason_code"]).to_pylist()
    counted = Counter((row["outcome"], row["reason_code"] or "") for row in rows)
    outcomes = [{"outcome": o, "reason": r, "count": n} for (o, r), n in sorted(counted.items())]
    refused = sorted((r for r in rows if r["outcome"] != Outcome.ACCEPTED), key=lambda r: r["source_uri"])
    return outcomes, refused


def _figures(report: dict[str, Any]) -> list[tuple[str, str]]:
    counts = report["counts"]
    figures = [
        ("inputs", str(counts.get("found", 0))),
        ("clips accepted", str(counts.get("accepted", 0))),
    ]
    if "clusters" in report:
        figures.append(("categories", str(report["clusters"].get("categories", 0))))
    if training := report.get("training"):
        figures += [
            ("training steps", str(training["steps"])),
            ("seconds per step", f"{training['step_seconds']:.2f}"),
        ]
    seconds = sum(step["seconds"] for step in report["steps"])
    return [*figures, ("seconds in all", f"{seconds:.0f}"), ("peak memory, MB", str(report["peak_rss_mb"]))]


def _training_rows(training: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("model", training["model_id"]),
        (
            "loss, first tenth → last tenth of the steps",
            f"{training['loss_begin']:.4f} → {training['loss_end']:.4f}",
        ),
        ("workers", str(training["workers"])),
        ("share of step time spent waiting for data", f"{100 * training['data_wait']:.1f} %"),
        ("model file", f"{training['bytes'] / 1e6:.2f} MB"),
    ]
