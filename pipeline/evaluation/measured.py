"""An evaluation as a value, and what its store knows of it."""

from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.make import GAP, Contestant
from pipeline.evaluation.networks import Measuring
from pipeline.evaluation.plan import EvaluationPlan
from pipeline.evaluation.settings import EvaluateSettings
from pipeline.evaluation.store import EvaluationStore


@dataclass(frozen=True)
class Evaluation:
    """What was planned, by whom, and where its measures lie."""

    plan: EvaluationPlan
    contestants: tuple[Contestant, ...]
    measuring: Measuring
    metrics: tuple[str, ...]
    settings: EvaluateSettings
    store: EvaluationStore


def values_of(evaluation: Evaluation, metric: str, each: Contestant | None) -> dict[int, Any]:
    """A metric's values by the case's place: of a model's clips, or of the targets for None."""
    cases, store = evaluation.plan.cases, evaluation.store
    if metric == GAP:
        if each is None or each.stream is None:
            return {}
        by = each.gap_by(evaluation.settings.draws)
    elif metric in evaluation.measuring.by:
        by = evaluation.measuring.by[metric]
    else:
        return {}
    names = each.keys(cases) if each else [f"real-{case.target_id}" for case in cases]
    found = store.values(names, metric, by)
    values = {place: found[name] for place, name in enumerate(names) if found.get(name) is not None}
    if metric == "effect":
        known = _known_effects(evaluation)
        values = {
            place: float(value == cases[place].category)
            for place, value in values.items()
            if cases[place].category in known
        }
    return values


def real_features(evaluation: Evaluation, metric: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Features of the targets, and category and features of further real clips, by clip id."""
    plan, store = evaluation.plan, evaluation.store
    by = evaluation.measuring.by.get(metric, "")
    found = {
        name.removeprefix("real-"): value
        for name, value in store.values(
            [f"real-{clip}" for clip in (*plan.targets, *plan.others)], metric, by
        ).items()
        if value is not None
    }
    real = {clip: found[clip] for clip in plan.targets if clip in found}
    others = {clip: (category, found[clip]) for clip, category in plan.others.items() if clip in found}
    return real, others


def _known_effects(evaluation: Evaluation) -> frozenset[str]:
    """The categories that the classifier tells apart."""
    if evaluation.measuring.classifier is None:
        return frozenset()
    from training.evaluation.effect import EffectClassifier

    return frozenset(EffectClassifier.load(evaluation.measuring.classifier).names)
