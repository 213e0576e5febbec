"""What was measured, as figures: by category, in domain, out of domain and over all, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.plan import IN, OUT, Case
from training.errors import BadFigures
from training.evaluation.frechet import frechet_distance, frechet_figure
from training.evaluation.intervals import Interval, mean_interval, relative_reduction

ALL = "all"
SLICES = (ALL, IN, OUT)


def places_of(cases: Sequence[Case], part: str) -> list[int]:
    """Which cases a slice holds."""
    return [place for place, case in enumerate(cases) if part in (ALL, case.domain)]


def scalar_figures(cases: Sequence[Case], values: Mapping[int, float]) -> dict[str, Any]:
    """Means over clips.

    Args:
        values: by the case's place; a case without one was not measured.

    Returns:
        `all`, `in`, `out`: an interval as JSON, None where nothing was measured; `categories`: name → value
        and items.
    """
    return _sliced(
        cases,
        values,
        lambda found, names: mean_interval([values[place] for place in found], names),
        lambda found: float(np.mean([values[place] for place in found])),
    )


def gap_figures(cases: Sequence[Case], losses: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """Transfer gaps 1 - mean(same) / mean(other), of losses (same, other, none) by the case's place."""

    def gap(found: Sequence[int], names: Sequence[str]) -> Interval:
        same, other = (np.array([losses[place][column] for place in found]) for column in (0, 1))
        return relative_reduction(same, other, names)

    return _sliced(cases, losses, gap, lambda found: gap(found, ["one"] * len(found)).value)


def set_figures(
    cases: Sequence[Case],
    made: Mapping[int, Sequence[float]],
    real: Mapping[str, Sequence[float]],
    others: Mapping[str, tuple[str, Sequence[float]]],
    seed: int,
) -> dict[str, Any]:
    """Fréchet distances between the clips generated for some targets and these targets.

    Args:
        made: features by the case's place.
        real: features by target.
        others: category and features of further real clips, by clip.

    Returns:
        As `scalar_figures`, each slice a `FrechetFigure` as JSON.
    """
    there = [place for place in made if cases[place].target_id in real]
    found: dict[str, Any] = {"categories": {}}
    for part in SLICES:
        places = [place for place in places_of(cases, part) if place in there]
        kinds = {cases[place].category for place in places}
        found[part] = None
        if len(places) > 1:
            pool = [feature for category, feature in others.values() if category in kinds]
            figure = frechet_figure(
                np.array([made[place] for place in places]),
                np.array([real[cases[place].target_id] for place in places]),
                [cases[place].category for place in places],
                np.array(pool) if pool else None,
                seed=seed,
            )
            found[part] = figure.to_dict()
    for name, places in _by_category(cases, there).items():
        if len(places) > 1:
            value = frechet_distance(
                np.array([made[place] for place in places]),
                np.array([real[cases[place].target_id] for place in places]),
            )
            found["categories"][name] = {"value": value, "items": len(places)}
    return found


def _sliced(cases, values, over, of_category) -> dict[str, Any]:
    found: dict[str, Any] = {"categories": {}}
    for part in SLICES:
        places = [place for place in places_of(cases, part) if place in values]
        try:
            found[part] = over(places, [cases[place].category for place in places]).to_dict()
        except BadFigures:
            found[part] = None
    for name, places in _by_category(cases, values).items():
        found["categories"][name] = {"value": of_category(places), "items": len(places)}
    return found


def _by_category(cases: Sequence[Case], places) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place in sorted(places):
        found.setdefault(cases[place].name, []).append(place)
    return found
