"""Whether training is due: a pure decision, and what a catalogue says of the time since the last training."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog.clip_spec import ClipSpec
from catalog.curation import Author, Selection
from catalog.curation.clips import withdraw
from catalog.store import Catalog
from catalog.vocabulary import Trigger
from pipeline.retraining.due import Situation, due, situation
from pipeline.retraining.settings import RetrainSettings

RULES = RetrainSettings(new_clips=3)
QUIET = Situation("model m", age_days=1.0, drift={"melt": 0.01})
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def test_nothing_is_due_where_nothing_happened_and_every_trigger_says_so():
    found = due(QUIET, RULES)
    assert found.triggers == ()
    assert found.reasons == (
        "model m is 1.0 days old, of 7 allowed",
        "0 clips that train are new, of 3 allowed",
        "the category that turned most is melt, by 0.010, of 0.15 allowed",
        "0 clips that trained have lost their licence",
    )


@pytest.mark.parametrize(
    ("happened", "trigger", "off"),
    [
        ({"age_days": 7.0}, Trigger.AGE, {"max_age_days": None}),
        ({"new_clips": 3}, Trigger.NEW_CLIPS, {"new_clips": None}),
        ({"drift": {"melt": 0.01, "pan": 0.4}}, Trigger.DRIFT, {"drift": None}),
        ({"withdrawn": 1}, Trigger.WITHDRAWN, {"withdrawn": False}),
        ({"since": ""}, Trigger.FIRST, None),
    ],
)
def test_each_trigger_fires_by_itself_and_not_where_it_is_switched_off(happened, trigger, off):
    now = Situation(**{**QUIET.__dict__, **happened})
    assert due(now, RULES).triggers == (trigger,)
    if off is not None:
        assert due(now, RULES.model_copy(update=off)).triggers == ()


def test_what_happened_is_counted_from_the_snapshot_of_the_last_training(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=5, fps=8, height=64, width=96))
    assert situation(catalog, FIRST) == Situation()
    told = {"status": "accepted", "category_id": "melt", "split": "train"}
    catalog.upsert("clips", [{"clip_id": f"m{n}", **told} for n in range(4)])
    catalog.upsert(
        "categories", [{"category_id": "melt", "name": "Melt", "state": "active", "prototype": [1.0, 0.0]}]
    )
    row = {"model_id": "m", "path": "m", "snapshot": catalog.snapshot().to_json(), "created_at": FIRST}
    catalog.upsert("models", [row])
    catalog.upsert("clips", [{"clip_id": f"n{n}", **told} for n in range(2)])
    catalog.upsert(
        "clips", [{"clip_id": "v", **told, "split": "val"}, {"clip_id": "x", "status": "rejected"}]
    )
    catalog.update("categories", [{"category_id": "melt", "prototype": [0.0, 1.0]}])
    withdraw(catalog, Selection.of(["m0"]), Author("ann"))
    found = situation(catalog, FIRST + timedelta(days=2))
    assert (found.since, found.age_days, found.new_clips, found.withdrawn) == ("model m", 2.0, 2, 1)
    assert found.drift == {"Melt": pytest.approx(1.0)}
