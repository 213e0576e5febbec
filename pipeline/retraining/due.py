"""Whether training is due: what has changed since the last one, and a pure decision about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from lancedb.expr import col

from catalog.champions import for_any
from catalog.decisions import decisions
from catalog.errors import SnapshotMissing
from catalog.fate import LICENCE_WITHDRAWN
from catalog.names import CategoryNames
from catalog.snapshot import Snapshot
from catalog.store import Catalog
from catalog.vocabulary import Split, Status, Trigger, Verdict
from pipeline.retraining.settings import RetrainSettings

# Verdicts that a training came before.
_TRAINED = (Verdict.PROMOTED, Verdict.KEPT, Verdict.FAILED)
_NAMED = 3


@dataclass(frozen=True)
class Situation:
    """What has happened since the last training.

    Attributes:
        since: what that was, in words; "" where nothing was trained yet.
        age_days: how long ago it was.
        new_clips: clips that train and did not then.
        withdrawn: clips that trained then and have lost their licence.
        drift: cosine distance of each category's prototype, by its name.
        unknown: why nothing can be said of the clips then; "" where it can.
    """

    since: str = ""
    age_days: float = 0.0
    new_clips: int = 0
    withdrawn: int = 0
    drift: Mapping[str, float] = field(default_factory=dict)
    unknown: str = ""


@dataclass(frozen=True)
class Due:
    """Which triggers fired, and a sentence about each, those that did not too."""

    triggers: tuple[Trigger, ...]
    reasons: tuple[str, ...]


def due(now: Situation, settings: RetrainSettings) -> Due:
    """Hold what has happened against the settings; a trigger that is null never fires."""
    if not now.since:
        return Due((Trigger.FIRST,), ("no model was trained on this catalogue yet",))
    limit = float("inf") if settings.drift is None else settings.drift
    turned = {name: by for name, by in now.drift.items() if by >= limit}
    farthest = max(now.drift, key=now.drift.__getitem__, default=None)
    asked = [
        (
            Trigger.AGE,
            settings.max_age_days is not None and now.age_days >= settings.max_age_days,
            f"{now.since} is {now.age_days:.1f} days old, of {_limit(settings.max_age_days)}",
        ),
        (
            Trigger.NEW_CLIPS,
            settings.new_clips is not None and now.new_clips >= settings.new_clips,
            f"{now.new_clips} clips that train are new, of {_limit(settings.new_clips)}",
        ),
        (
            Trigger.DRIFT,
            bool(turned),
            f"{_listed(turned)} turned by {settings.drift} or more"
            if turned
            else f"the category that turned most is {farthest}, by {now.drift[farthest]:.3f}, of "
            f"{_limit(settings.drift)}"
            if farthest is not None
            else "no category has a prototype then and now",
        ),
        (
            Trigger.WITHDRAWN,
            settings.withdrawn and now.withdrawn > 0,
            f"{now.withdrawn} clips that trained have lost their licence",
        ),
    ]
    reasons = [text for _, _, text in asked] + ([now.unknown] if now.unknown else [])
    return Due(tuple(trigger for trigger, fires, _ in asked if fires), tuple(reasons))


def situation(catalog: Catalog, now: datetime) -> Situation:
    """What has happened on a catalogue since its last training, whatever became of that."""
    last = _last_training(catalog)
    if last is None:
        return Situation()
    since, at, snapshot = last
    age = (now - at).total_seconds() / 86_400
    try:
        then = catalog.at(snapshot)
        before = _training(then)
    except SnapshotMissing as error:
        return Situation(since, age, unknown=f"what it trained on is not known: {error}")
    gone = catalog.scan("clips", ["clip_id"], col("reason_code") == LICENCE_WITHDRAWN)
    return Situation(
        since,
        age,
        len(_training(catalog) - before),
        len(before.intersection(gone["clip_id"].to_pylist())),
        _drift(then, catalog),
    )


def _last_training(catalog: Catalog) -> tuple[str, datetime, Snapshot] | None:
    """The newer one of the last decision that trained and the last model: in words, when, on what."""
    found = [
        (f"decision {each.decision_id}", each.decided_at or each.begun_at, each.snapshot)
        for each in decisions(catalog)
        if each.verdict in _TRAINED and each.snapshot is not None
    ][:1]
    found += [(f"model {each.model_id}", each.created_at, each.snapshot) for each in for_any(catalog)[:1]]
    return max(found, key=lambda each: each[1], default=None)


def _training(catalog: Catalog) -> set[str]:
    where = (col("status") == Status.ACCEPTED) & (col("split") == Split.TRAIN)
    rows = catalog.scan("clips", ["clip_id", "category_id"], where).to_pylist()
    return {row["clip_id"] for row in rows if row["category_id"]}


def _drift(then: Catalog, now: Catalog) -> dict[str, float]:
    names = CategoryNames.load(now)
    before, after = _prototypes(then), _prototypes(now)
    return {
        names.name_of(key) or key: _distance(before[key], after[key])
        for key in sorted(before.keys() & after.keys())
        if len(before[key]) == len(after[key])
    }


def _prototypes(catalog: Catalog) -> dict[str, np.ndarray]:
    rows = catalog.scan("categories", ["category_id", "prototype"]).to_pylist()
    return {row["category_id"]: np.asarray(row["prototype"]) for row in rows if row["prototype"] is not None}


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return 1.0 - float(one @ other) / lengths if lengths else 0.0


def _limit(value: float | None) -> str:
    return "no limit" if value is None else f"{value:g} allowed"


def _listed(turned: Mapping[str, float]) -> str:
    order = sorted(turned, key=turned.__getitem__, reverse=True)
    more = f" and {len(order) - _NAMED} more" if len(order) > _NAMED else ""
    return ", ".join(f"{name} ({turned[name]:.3f})" for name in order[:_NAMED]) + more
