"""The table of the comparison of methods: a line for each way, the same figures as its JSON line has."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Between = tuple[float, float | None, float | None]  # a figure and its interval, where there is one


@dataclass
class Line:
    """What was measured of one way; None where it has no such figure.

    Attributes:
        steps, trained: of its training, and the seconds that they took.
        gap_seen, gap_unseen, found_seen, found_unseen: shares.
        stored: bytes of one effect; `learned`: bytes that all effects share.
        adapt, generate: seconds; `held`: bytes while a clip is generated, weights included.
        edited, input, reach: see `methods_edits`; `background` in dB.
    """

    steps: str | None = None
    trained: float | None = None
    gap_seen: Between | None = None
    gap_unseen: Between | None = None
    found_seen: Between | None = None
    found_unseen: Between | None = None
    stored: int | None = None
    learned: int | None = None
    adapt: float | None = None
    generate: float | None = None
    held: int | None = None
    edited: Between | None = None
    input: Between | None = None
    background: Between | None = None
    reach: Between | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _share(value: Between) -> str:
    return _between(value, 100, 1, " %")


def _between(value: Between, scale: float, digits: int, unit: str = "") -> str:
    figure, low, high = (None if each is None else f"{scale * each:.{digits}f}" for each in value)
    return f"{figure}{unit}" + ("" if low is None else f" ({low} to {high})")


COLUMNS = {
    "steps": ("training steps", str),
    "trained": ("s of training", lambda v: f"{v:.0f}"),
    "gap_seen": ("gap, seen", _share),
    "gap_unseen": ("gap, unseen", _share),
    "found_seen": ("effect found, seen", _share),
    "found_unseen": ("effect found, unseen", _share),
    "stored": ("kB of an effect", lambda v: f"{v / 1e3:.1f}"),
    "learned": ("MB of all effects", lambda v: f"{v / 1e6:.2f}"),
    "adapt": ("s to adapt", lambda v: f"{v:.3f}"),
    "generate": ("s of a clip", lambda v: f"{v:.2f}"),
    "held": ("MB while generating", lambda v: f"{v / 1e6:.0f}"),
    "edited": ("CLIP to the edited frame", lambda v: _between(v, 1, 3)),
    "input": ("CLIP to the input", lambda v: _between(v, 1, 3)),
    "background": ("background, dB", lambda v: _between(v, 1, 1)),
    "reach": ("reach of the edit", _share),
}


def markdown(lines: Mapping[str, Line]) -> str:
    """A line for each way; columns that nobody has a figure for are left out."""
    asked = [name for name in COLUMNS if any(getattr(line, name) is not None for line in lines.values())]

    def cell(line: Line, name: str) -> str:
        value = getattr(line, name)
        return "" if value is None else COLUMNS[name][1](value)

    head = [["", *(COLUMNS[name][0] for name in asked)], ["---"] * (1 + len(asked))]
    body = [[name, *(cell(line, column) for column in asked)] for name, line in lines.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in head + body)
