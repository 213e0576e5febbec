"""The HTML report of a run: what a person looks at when it is over. Opens from disk."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from catalog.store import Catalog
from catalog.vocabulary import Outcome
from jobs.report.done import done_rows
from jobs.report.gap import gap_rows
from jobs.report.pictures import loss_curve
from jobs.report.render import render
from jobs.report.sheets import draw_sheets

ASSETS = "report_files"
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
    sheets, folded = draw_sheets(catalog, assets)
    training = report.get("training")
    if training:
        rows = [json.loads(line) for line in Path(training["metrics_path"]).read_text().splitlines()]
        loss_curve(rows, assets / "loss.png")
    outcomes, refused = _outcomes(catalog)
    versions = catalog.versions()
    return render(
        root / f"{name}.html",
        "report.html.j2",
        title=f"Video2LoRA {report['command']}",
        subtitle=f"{root} · {report['run_id']}",
        notes=notes,
        figures=_figures(report),
        results=report.get("generated", []),
        done=list(done_rows(report)),
        loss_plot=f"{folder}/loss.png" if training else None,
        training=_training_rows(training) if training else [],
        sheets=sheets,
        folded=folded,
        outcomes=outcomes,
        refused=refused[:MAX_REFUSED],
        all_refused=len(refused),
        steps=report["steps"],
        tables=[{"name": n, "rows": catalog.count(n), "version": v} for n, v in versions.items()],
        commands=commands,
    )


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
    return [
        *figures,
        ("seconds, start of Python included", f"{report['seconds']:.0f}"),
        (f"peak memory of {report.get('memory_of', 'all processes')}, MB", str(report["peak_rss_mb"])),
    ]


def _training_rows(training: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("model", training["model_id"]),
        (
            "loss, first tenth → last tenth of the steps",
            f"{training['loss_begin']:.4f} → {training['loss_end']:.4f}",
        ),
        *gap_rows(training["evaluation"]),
        ("workers", str(training["workers"])),
        ("share of step time spent waiting for data", f"{100 * training['data_wait']:.1f} %"),
        ("model file", f"{training['bytes'] / 1e6:.2f} MB"),
    ]
