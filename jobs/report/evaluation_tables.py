"""An evaluation's figures as tables of texts, and as the lines that a terminal shows."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.evaluation.metrics import METRICS, PAPER_TABLE_2, WORTH
from pipeline.evaluation.plan import DOMAINS

# Share of real clips that a classifier of effects has to be right about to be believed.
TRUSTED = 0.7
SLICES = {"all": "average", **DOMAINS}


@dataclass(frozen=True)
class Table:
    """A table of texts; `notes` stand below it."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables(found: dict[str, Any], root: Path) -> list[Table]:
    """Every table, in the order of the page."""
    made = [table_1(found, model) for model in found["models"]]
    # What there is to say of all of them stands below the last.
    made = [*(replace(table, notes=()) for table in made[:-1]), made[-1]]
    if found["comparison"]:
        made += [compared(found["comparison"])]
        if found["comparison"]["people"]:
            made.append(chosen(found["comparison"]))
    if distances := frechet(found):
        made.append(distances)
    return [*made, table_2(found, root), measured_by(found)]


def table_1(found: dict[str, Any], model: dict[str, Any]) -> Table:
    """The paper's Table 1: categories down, metrics across; its averages and our real clips below."""
    names = [
        name
        for name, metric in found["metrics"].items()
        if not metric["unavailable"] or METRICS[name].paper is not None
    ]
    domains = {case["name"]: DOMAINS[case["domain"]] for case in found["cases"]}
    rows = []
    for category in sorted(domains, key=lambda each: (domains[each], each)):
        cells = [model["figures"][name]["categories"].get(category) for name in names]
        count = max((cell["items"] for cell in cells if cell), default=0)
        shown = [METRICS[name].shown(cell and cell["value"]) for name, cell in zip(names, cells, strict=True)]
        rows.append((category, domains[category], str(count), *shown))
    for part, title in SLICES.items():
        cells = [model["figures"][name][part] for name in names]
        if any(cells):
            shown = [_with_interval(name, cell) for name, cell in zip(names, cells, strict=True)]
            rows.append((title, "", str(_items(cells)), *shown))
    real = [(found["real"].get(name) or {}).get("all") for name in names]
    if any(real):
        shown = [METRICS[name].shown(cell and cell["value"]) for name, cell in zip(names, real, strict=True)]
        rows.append(("the real clips themselves", "", str(_items(real)), *shown))
    stated = [METRICS[name].paper for name in names]
    paper = [
        "–" if value is None else f"{value:.{METRICS[name].digits}f}"
        for name, value in zip(names, stated, strict=True)
    ]
    rows.append(("the paper, average", "", "75", *paper))
    arrows = [f"{METRICS[name].title} {'↑' if METRICS[name].better == 'higher' else '↓'}" for name in names]
    return Table(
        f"{model['model_id']}: by category, as the paper's Table 1",
        ("category", "", "clips", *arrows),
        tuple(rows),
        (
            "In brackets: a 95 % interval over categories like these, by a bootstrap of whole ones.",
            *_left_out(found),
            *_judge(found),
            WORTH,
        ),
    )


def frechet(found: dict[str, Any]) -> Table | None:
    """What each FVD is worth: its number of videos, and what real ones have at that number."""
    rows = []
    for model in found["models"]:
        for name in ("fvd_crop", "fvd_squash"):
            for part, title in SLICES.items():
                figure = (model["figures"].get(name) or {}).get(part)
                if not figure:
                    continue
                against = figure["real_against_real"]
                rows.append(
                    (
                        model["model_id"],
                        METRICS[name].title,
                        title,
                        _with_interval(name, figure),
                        str(figure["number"]),
                        "–" if against is None else f"{against:.0f} (N = {figure['real_number']})",
                        figure["name"],
                    )
                )
    if not rows:
        return None
    note = (
        "An FVD of few videos is large between any two samples, real ones too: read it beside real against"
        " real at its own N. Below 256 videos it is called a rank: it orders models, and is no distance."
    )
    heads = ("model", "metric", "", "FVD", "N", "real against real", "is a")
    return Table("What the FVD is worth", heads, tuple(rows), (note,))


def table_2(found: dict[str, Any], root: Path) -> Table:
    """The paper's Table 2: refinements and sizes down, of every model that was evaluated here."""
    names = ("fvd_crop", "dynamic_degree", "smoothness", "aesthetic", "effect", "transfer_gap")
    rows = []
    for model in _evaluated(found, root):
        method = model["method"]
        if method.get("kind") != "video2lora":
            continue
        cells = [(model["figures"].get(name) or {}).get("all") for name in names]
        shown = [
            METRICS[name].shown(_value(cell) if cell else None)
            for name, cell in zip(names, cells, strict=True)
        ]
        size = f"({method.get('down_size')}, {method.get('up_size')})"
        rows.append((model["model_id"], str(method.get("refinements")), size, str(_items(cells)), *shown))
    others = ["–"] * (len(names) - 1)
    rows.append(("the paper", "4", "(100, 50)", "5", f"{PAPER_TABLE_2:.0f}", *others))
    heads = ("model", "s", "(a, b)", "clips", *(METRICS[name].title for name in names))
    note = (
        "s: refinements; (a, b): sizes of the predicted halves. `python -m tests.benchmarks.ablations` trains"
        " such a grid. Of the paper's own grid only the chosen row is repeated here."
    )
    return Table("As the paper's Table 2: what was evaluated in this workspace", heads, tuple(rows), (note,))


def measured_by(found: dict[str, Any]) -> Table:
    """What each metric is and which weights took it, or why it was not taken."""
    rows = []
    for name, metric in found["metrics"].items():
        why = metric["unavailable"]
        state = f"unavailable, because {why}" if why else metric["by"] or "the model's own loss"
        rows.append((METRICS[name].title, METRICS[name].says, state))
    return Table("How it was measured", ("metric", "is", "measured by"), tuple(rows))


def compared(comparison: dict[str, Any]) -> Table:
    """The first model minus the second, and how often the first is better."""
    rows = []
    for name, parts in comparison["metrics"].items():
        for part, title in SLICES.items():
            if not (cell := parts[part]):
                continue
            wins = cell["wins"]
            low, high = cell["difference"]["low"], cell["difference"]["high"]
            apart = "–" if low is None else "no" if low <= 0 <= high else "yes"
            rows.append(
                (
                    METRICS[name].title,
                    title,
                    _signed(name, cell["difference"]),
                    "–" if wins is None else _share(wins),
                    str(cell["difference"]["items"]),
                    apart,
                )
            )
    first, second = comparison["models"]
    return Table(
        f"{first} against {second}",
        ("metric", "", "difference", "first is better on", "clips", "apart"),
        tuple(rows),
        (
            "Both made each clip of the same reference, first frame, prompt and noise; differences are"
            " paired, intervals are over categories. Apart: 0 lies outside; one in twenty is by chance.",
        ),
    )


def chosen(comparison: dict[str, Any]) -> Table:
    """What people chose on the blind page."""
    rows = []
    for each in comparison["people"]:
        for part, title in SLICES.items():
            if each[part]:
                rows.append(
                    (each["person"], title, _share(each[part]), f"{each[part]['items']} of {each['of']}")
                )
    heads = ("person", "", f"preferred {comparison['models'][0]}", "pairs")
    return Table("Chosen blind", heads, tuple(rows), ("Ties count half.",))


def summary_lines(found: dict[str, Any]) -> Iterator[str]:
    """What a terminal shows."""
    for model in found["models"]:
        yield f"\n{model['model_id']}, {model['clips']} clips"
        for name, metric in found["metrics"].items():
            title = METRICS[name].title
            if metric["unavailable"]:
                yield f"  {title}: unavailable, because {metric['unavailable']}"
                continue
            for part, where in SLICES.items():
                if cell := model["figures"][name][part]:
                    real = (found["real"].get(name) or {}).get(part)
                    beside = f", real clips {METRICS[name].shown(real['value'])}" if real else ""
                    if cell.get("number"):
                        against = cell["real_against_real"]
                        beside = f", a {cell['name']} of N = {cell['number']}"
                        if against is not None:
                            beside += f"; real against real {against:.0f} at N = {cell['real_number']}"
                    yield f"  {title}, {where}: {_with_interval(name, cell)}{beside}"
    if comparison := found["comparison"]:
        table = compared(comparison)
        yield f"\n{table.title}"
        for metric, part, difference, wins, count, apart in table.rows:
            yield f"  {metric}, {part}: {difference}, better on {wins} of {count} clips; apart: {apart}"
    yield from (*_judge(found), *found["caveats"])


def _evaluated(found: dict[str, Any], root: Path) -> Iterator[dict[str, Any]]:
    """Every model that was evaluated in this folder, these last, each once."""
    models = {}
    for file in sorted(root.glob("*.json")):
        try:
            models |= {model["model_id"]: model for model in json.loads(file.read_text("utf-8"))["models"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    models |= {model["model_id"]: model for model in found["models"]}
    return iter(models.values())


def _judge(found: dict[str, Any]) -> list[str]:
    """What effect accuracy is worth: the classifier is asked about real clips too."""
    real = (found["real"].get("effect") or {}).get("all")
    if not real:
        return []
    share = f"{100 * real['value']:.0f} %"
    text = (
        f"The classifier of effects is right about {share} of the real clips, none of which taught it: of"
        " generated ones no more can be expected."
    )
    return [text if real["value"] >= TRUSTED else f"{text} That is too few for its verdicts to mean much."]


def _left_out(found: dict[str, Any]) -> list[str]:
    return [f"{name} is left out: {why}." for name, why in sorted(found["left_out"].items())]


def _value(cell: dict[str, Any]) -> float:
    return cell["distance"]["value"] if "distance" in cell else cell["value"]


def _items(cells: Sequence[dict[str, Any] | None]) -> int:
    return max((c.get("items") or c.get("number") or 0 for c in cells if c), default=0)


def _with_interval(name: str, cell: dict[str, Any] | None) -> str:
    """A figure with its interval; of one category there is none."""
    if not cell:
        return "–"
    interval, metric = cell.get("distance", cell), METRICS[name]
    text = metric.shown(interval["value"])
    if interval["low"] is None:
        return text
    low, high = (f"{interval[end] * metric.scale:.{metric.digits}f}" for end in ("low", "high"))
    return f"{text} [{low}, {high}]"


def _signed(name: str, interval: dict[str, Any]) -> str:
    metric = METRICS[name]
    text = f"{interval['value'] * metric.scale:+.{metric.digits}f}{metric.unit}"
    if interval["low"] is None:
        return text
    low, high = (f"{interval[end] * metric.scale:+.{metric.digits}f}" for end in ("low", "high"))
    return f"{text} [{low}, {high}]"


def _share(interval: dict[str, Any]) -> str:
    text = f"{100 * interval['value']:.0f} %"
    if interval["low"] is None:
        return text
    return f"{text} [{100 * interval['low']:.0f}, {100 * interval['high']:.0f}]"
