"""The evidence of one decision about retraining, as a page that opens from disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.decisions import Decision
from jobs.report.render import render

_FOLDER = "decisions"
# Pixels of the picture of intervals.
_WIDTH, _ROW, _NAMES = 420, 22, 190


@dataclass(frozen=True)
class Bar:
    """One check as it is drawn: names, places in pixels, words."""

    name: str
    y: int
    low: float
    high: float
    value: float
    least: float
    passed: bool
    words: str


def write_decision(root: Path, decision: Decision) -> str:
    """Write `decisions/NUMBER.html` into a working directory; returns that path, relative to it."""
    path = root / _FOLDER / f"{decision.decision_id}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    bars, zero = _bars(decision.figures.get("checks", []))
    render(
        path,
        "decision.html.j2",
        title=f"Decision {decision.decision_id}: {decision.verdict}",
        subtitle=f"by {decision.actor}, {_when(decision)}",
        decision=decision,
        figures=decision.figures,
        bars=bars,
        zero=zero,
        width=_NAMES + _WIDTH + 130,
        height=_ROW * (len(bars) + 1),
        gaps=decision.figures.get("gaps", {}),
    )
    return path.relative_to(root).as_posix()


def _when(decision: Decision) -> str:
    at = decision.decided_at or decision.begun_at
    alike = f", {decision.times} times alike" if decision.times > 1 else ""
    return (f"{at:%Y-%m-%d %H:%M} UTC" if at else "now") + alike


def _bars(checks: list[dict[str, Any]]) -> tuple[list[Bar], float]:
    """Each check's interval, and where no difference lies."""
    shown = [check[name] for check in checks for name in ("low", "high", "value", "least")]
    ends = [0.0, *(value for value in shown if value is not None)]
    low, high = min(ends), max(ends)
    scale = _WIDTH / (high - low or 1.0)

    def place(share: float) -> float:
        return round(_NAMES + (share - low) * scale, 1)

    bars = []
    for number, check in enumerate(checks):
        ends_known = check["low"] is not None
        bars.append(
            Bar(
                check["name"].removeprefix("category:"),
                _ROW * (number + 1),
                place(check["low"] if ends_known else check["value"]),
                place(check["high"] if ends_known else check["value"]),
                place(check["value"]),
                place(check["least"]),
                check["passed"],
                f"{100 * check['value']:+.2f} %",
            )
        )
    return bars, place(0.0)
