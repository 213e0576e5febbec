"""An evaluation from its plan to its figures; each step is one call, and stands when it was done before."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from catalog.store import Catalog
from pipeline.errors import PipelineError
from pipeline.evaluation.compare import compare
from pipeline.evaluation.figures import gap_figures, scalar_figures, set_figures
from pipeline.evaluation.make import GAP, Contestant
from pipeline.evaluation.measure import Item
from pipeline.evaluation.measured import Evaluation, real_features, values_of
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.networks import FVD
from pipeline.pairing.plan import PairSettings
from pipeline.pairing.stream import PairStream
from training.backbones.registry import locate_backbone
from training.backbones.settings import BackboneSettings
from training.errors import TrainingError
from training.release import Release, method_settings
from training.settings import GenerateSettings

# Compared with nothing that was generated.
OF_REAL = (
    "dynamic_degree",
    "smoothness",
    "aesthetic",
    "consistency",
    "clip_reference",
    "clip_prompt",
    "effect",
)


def contestant(
    catalog: Catalog,
    release: Release,
    backbone: BackboneSettings,
    generate: GenerateSettings,
    pairs: PairSettings,
    metrics: Sequence[str],
) -> Contestant:
    """A model, and the features that its transfer gap is measured on where the snapshot holds them.

    Args:
        catalog: a view of the snapshot.
    """
    if GAP not in metrics:
        return Contestant(release, backbone, generate, None, "it was not asked for")
    method = method_settings(release)
    try:
        encoder_id = locate_backbone(backbone, ["vae", "text"]).encoder_id
        stream = PairStream.open(
            catalog, encoder_id, pairs, needs=method.needs, references=method.references_per_target
        )
    except (PipelineError, TrainingError) as reason:
        return Contestant(release, backbone, generate, None, str(reason).rstrip("."))
    return Contestant(release, backbone, generate, stream)


def items_to_measure(evaluation: Evaluation) -> dict[str, Item]:
    """Every generated clip, every target, and the further real clips that FVD is parted on."""
    plan, metrics = evaluation.plan, [name for name in evaluation.metrics if name != GAP]
    items: dict[str, Item] = {}
    for each in evaluation.contestants:
        for key, case in zip(each.keys(plan.cases), plan.cases, strict=True):
            if evaluation.store.is_made(key):
                items[key] = Item(None, tuple(metrics), case.reference_id, case.prompt)
    for case in plan.cases:
        wanted = tuple(name for name in metrics if name in (*OF_REAL, *FVD))
        items[f"real-{case.target_id}"] = Item(case.target_id, wanted, case.reference_id, case.prompt)
    if spare := tuple(name for name in metrics if name in FVD and name in evaluation.measuring.by):
        for clip in plan.others:
            items[f"real-{clip}"] = Item(clip, spare)
    return items


def result(evaluation: Evaluation, failures: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """All figures as JSON, from what is measured in the store.

    Args:
        failures: by model, the clips that could not be made, and why.
    """
    plan, measuring = evaluation.plan, evaluation.measuring
    unavailable = dict(measuring.unavailable)
    models = []
    for each in evaluation.contestants:
        if GAP in evaluation.metrics and each.stream is None:
            unavailable[GAP] = each.without_gap
        models.append(
            {
                "model_id": each.release.model_id,
                "method": each.release.facts.get("method", {}),
                "steps": each.release.facts.get("steps"),
                "clips": sum(map(evaluation.store.is_made, each.keys(plan.cases))),
                "failures": dict(failures.get(each.release.model_id, {})),
                "made_by": each.made_by,
                "figures": {name: _figures(evaluation, name, each) for name in evaluation.metrics},
            }
        )
    clips = [_clips(evaluation, each) for each in evaluation.contestants]
    shown = [name for name in evaluation.metrics if name in OF_REAL]
    return {
        "settings": evaluation.settings.model_dump(mode="json"),
        "cases": [
            asdict(case) | {"clips": [each[place] for each in clips]} for place, case in enumerate(plan.cases)
        ],
        "left_out": plan.left_out,
        "metrics": {
            name: {
                "title": METRICS[name].title,
                "says": METRICS[name].says,
                "better": METRICS[name].better,
                "by": measuring.by.get(name),
                "unavailable": unavailable.get(name),
            }
            for name in evaluation.metrics
        },
        "models": models,
        "real": {name: _figures(evaluation, name, None) for name in shown},
        "comparison": compare(evaluation) if len(evaluation.contestants) == 2 else None,
    }


def _clips(evaluation: Evaluation, each: Contestant) -> list[dict[str, Any]]:
    """A model's clip of each case, and what was measured of it by itself."""
    keys = each.keys(evaluation.plan.cases)
    found = {name: values_of(evaluation, name, each) for name in evaluation.metrics if name in OF_REAL}
    return [
        {
            "key": key if evaluation.store.is_made(key) else None,
            "measured": {name: values[place] for name, values in found.items() if place in values},
        }
        for place, key in enumerate(keys)
    ]


def _figures(evaluation: Evaluation, metric: str, each: Contestant | None) -> dict[str, Any]:
    cases, values = evaluation.plan.cases, values_of(evaluation, metric, each)
    if metric == GAP:
        return gap_figures(cases, values)
    if metric not in FVD:
        return scalar_figures(cases, values)
    real, others = real_features(evaluation, metric)
    return set_figures(cases, values, real, others, evaluation.settings.seed)
