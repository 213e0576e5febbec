"""Two models on the same cases: paired differences over categories, and how often one is better."""

import hashlib
import json
from typing import Any

import numpy as np

from pipeline.evaluation.figures import SLICES, places_of
from pipeline.evaluation.make import GAP
from pipeline.evaluation.measured import Evaluation, real_features, values_of
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.networks import FVD
from training.errors import BadFigures
from training.evaluation.frechet import frechet_distance
from training.evaluation.intervals import drawn_interval, paired_difference, win_rate


def compare(evaluation: Evaluation) -> dict[str, Any]:
    """The first model against the second, on clips that both made of the same reference and noise.

    Returns:
        `id`: of this comparison, what choices are made for; `metrics`: for each slice the difference (first
        minus second) and, of what is measured clip by clip, the share of clips on which the first is better;
        `pairs`: for the blind page, target → pair id and which model is left.
    """
    ours, theirs = evaluation.contestants
    cases = evaluation.plan.cases
    keys = list(zip(ours.keys(cases), theirs.keys(cases), strict=True))
    both = [place for place, pair in enumerate(keys) if all(map(evaluation.store.is_made, pair))]
    whole = json.dumps([keys[place] for place in both] + [evaluation.settings.seed])
    comparison = hashlib.sha256(whole.encode()).hexdigest()[:16]
    return {
        "id": comparison,
        "models": [ours.release.model_id, theirs.release.model_id],
        "metrics": {name: _compared(evaluation, name) for name in evaluation.metrics},
        "pairs": [_pair(comparison, cases[place], keys[place], evaluation.settings.seed) for place in both],
        "people": [],
    }


def _pair(comparison: str, case: Any, keys: tuple[str, str], seed: int) -> dict[str, Any]:
    """A pair of the blind page; a draw of the seed says whose clip is left."""
    digest = hashlib.blake2b(
        f"{seed}/{comparison}/{case.target_id}".encode(), person=b"left or right"
    ).digest()
    return {
        "pair": digest[:6].hex(),
        "left": digest[-1] % 2,  # place of the model whose clip is on the left
        "target_id": case.target_id,
        "reference_id": case.reference_id,
        "category": case.category,
        "name": case.name,
        "domain": case.domain,
        "prompt": case.prompt,
        "keys": list(keys),
    }


def _compared(evaluation: Evaluation, metric: str) -> dict[str, Any]:
    ours, theirs = (values_of(evaluation, metric, each) for each in evaluation.contestants)
    cases = evaluation.plan.cases
    found: dict[str, Any] = {}
    real = real_features(evaluation, metric)[0] if metric in FVD else {}
    for part in SLICES:
        places = [place for place in places_of(cases, part) if place in ours and place in theirs]
        if metric in FVD:
            places = [place for place in places if cases[place].target_id in real]
        names = [cases[place].category for place in places]
        found[part] = None
        if len(places) < (2 if metric in FVD else 1):
            continue
        try:
            found[part] = (
                _of_sets(ours, theirs, real, cases, places, names)
                if metric in FVD
                else _of_clips(metric, ours, theirs, places, names)
            )
        except BadFigures:
            continue
    return found


def _of_clips(metric, ours, theirs, places, names) -> dict[str, Any]:
    # A pair's own gap; their mean is near, not equal, to the gap of the means.
    value = (lambda each: 1 - each[0] / each[1]) if metric == GAP else float
    sides = [[value(side[place]) for place in places] for side in (ours, theirs)]
    higher = METRICS[metric].better == "higher"
    return {
        "difference": paired_difference(*sides, names).to_dict(),
        "wins": win_rate(*sides, names, higher_is_better=higher).to_dict(),
    }


def _of_sets(ours, theirs, real, cases, places, names) -> dict[str, Any]:
    first, second = (np.array([side[place] for place in places]) for side in (ours, theirs))
    target = np.array([real[cases[place].target_id] for place in places])
    found = drawn_interval(
        lambda at: frechet_distance(first[at], target[at]) - frechet_distance(second[at], target[at]), names
    )
    return {"difference": found.to_dict(), "wins": None}
