"""The champion: one at a time, by acts; models that saw withdrawn clips are marked."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from catalog.acts import undo
from catalog.champions import (
    before_champion,
    champion,
    for_any,
    marks,
    model_of,
    models,
    promote,
    rollback,
    trained_on,
)
from catalog.curation import Author, Selection
from catalog.curation.clips import approve, withdraw
from catalog.errors import CatalogError, NoChampion, UnknownModel
from catalog.events import history
from catalog.snapshots import restore, take
from catalog.store import Catalog

FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def add_model(
    catalog: Catalog,
    name: str,
    day: int,
    started_from: str | None = None,
    taught_by: str | None = None,
    **pairs,
) -> None:
    """A model trained on the catalogue as it is now."""
    row = {
        "model_id": name,
        "path": f"../models/{name}",
        "snapshot": catalog.snapshot().to_json(),
        "config": json.dumps({"pairs": pairs, "train": {"teacher": taught_by}}),
        "metrics": json.dumps({"started_from": started_from, "taught_by": taught_by}),
        "created_at": FIRST + timedelta(days=day),
    }
    catalog.upsert("models", [row])


@pytest.fixture
def trained(curated) -> Catalog:
    for day, name in enumerate(("video2lora-aaaa", "video2lora-bbbb", "video2lora-cccc")):
        add_model(curated, name, day)
    return curated


def test_models_are_listed_the_newest_first_and_called_by_what_begins_their_id(trained):
    assert [each.model_id[-4:] for each in models(trained)] == ["cccc", "bbbb", "aaaa"]
    assert model_of(trained, "video2lora-b").model_id == "video2lora-bbbb"
    with pytest.raises(UnknownModel, match=r"3 models begin with 'video2lora'"):
        model_of(trained, "video2lora")
    with pytest.raises(
        UnknownModel, match=r"No model is called 'video2lora-bbxx'; nearest: 'video2lora-bbbb'"
    ):
        model_of(trained, "video2lora-bbxx")


def test_one_model_is_the_champion_at_a_time_and_rollback_goes_back_as_far_as_the_first(trained, ann):
    for name in ("aaaa", "bbbb", "cccc"):
        promote(trained, f"video2lora-{name}", ann, "better")
    assert [each.model_id for each in models(trained) if each.champion] == ["video2lora-cccc"]
    rollback(trained, ann, "melts too early")
    assert champion(trained) == "video2lora-bbbb"
    assert history(trained)[0].payload["reason"] == "melts too early"
    rollback(trained, ann)
    assert champion(trained) == "video2lora-aaaa"
    with pytest.raises(NoChampion, match="video2lora-aaaa is the first champion: there is none before it"):
        rollback(trained, ann)
    promote(trained, "video2lora-cccc", ann)
    assert before_champion(trained) == "video2lora-aaaa"


def test_a_promotion_that_was_undone_is_no_step_of_the_way_back(trained, ann):
    promote(trained, "video2lora-aaaa", ann)
    wrong = promote(trained, "video2lora-bbbb", ann)
    undo(trained, wrong.event, actor="ann")
    assert champion(trained) == "video2lora-aaaa"
    promote(trained, "video2lora-cccc", ann)
    assert before_champion(trained) == "video2lora-aaaa"


def test_without_a_champion_there_is_nothing_to_go_back_from(trained, ann):
    with pytest.raises(NoChampion, match="`models promote ID` makes one"):
        rollback(trained, ann)


def test_of_two_that_promote_at_once_both_are_told_and_one_champion_is_left(trained):
    def one(name: str) -> bool:
        try:
            promote(trained, f"video2lora-{name}", Author(name))
        except CatalogError:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(one, ("aaaa", "bbbb", "cccc")))
    assert any(done)
    assert sum(each.champion for each in models(trained)) == 1


def test_a_withdrawn_licence_marks_the_models_that_saw_the_clips_and_those_that_began_with_them(curated, ann):
    add_model(curated, "saw", 0)
    add_model(curated, "saw nothing of it", 0, licences=["CC0"])
    add_model(curated, "began with it", 1, started_from="saw", licences=["CC0"])
    assert marks(curated) == {}
    done = withdraw(curated, Selection.of(["m0aaaaa", "m1aaaaa"]), ann, "the author asked for it")
    add_model(curated, "came later", 2)
    found = marks(curated)
    assert found.keys() == {"saw", "began with it"}
    assert found["saw"].clips == ("m0aaaaa", "m1aaaaa")
    assert found["saw"].sentence() == "trained on 2 clips whose licence was withdrawn since"
    assert found["began with it"].sentence().endswith("(as saw, which it learned from)")
    undo(curated, done.event, actor="ann")
    assert marks(curated) == {}


def test_what_adapters_taught_saw_the_clips_that_have_one_and_what_their_model_saw(curated, ann):
    add_model(curated, "saw", 0)
    adapters = [{"clip_id": clip, "model_id": "saw+polish-5-ab"} for clip in ("m1aaaaa", "m2aaaaa")]
    curated.upsert("adapters", adapters)
    curated.update("clips", [{"clip_id": "m1aaaaa", "category_id": None, "split": None}])
    add_model(curated, "taught", 1, taught_by="saw+polish-5-ab", licences=["CC0"])
    seen = {row["clip_id"] for row in trained_on(curated, model_of(curated, "taught"))}
    assert seen == set()  # of another licence
    add_model(curated, "taught too", 2, taught_by="saw+polish-5-ab")
    seen = {row["clip_id"] for row in trained_on(curated, model_of(curated, "taught too"))}
    assert seen == {"m1aaaaa", "m2aaaaa"}
    withdraw(curated, Selection.of(["m0aaaaa"]), ann)
    found = marks(curated)
    assert found.keys() == {"saw", "taught", "taught too"} and found["taught"].through == "saw"


def test_what_is_fitted_to_one_video_is_no_champion_and_saw_that_clip_alone(trained, ann):
    seen = trained.scan("clips", ["clip_id"])["clip_id"].to_pylist()[:1]
    row = {
        "model_id": "edit",
        "path": "../models/edit",
        "config": json.dumps({"fitted_to": seen}),
        "created_at": FIRST + timedelta(days=99),
    }
    trained.upsert("models", [row])
    assert models(trained)[0].fitted_to == tuple(seen)
    assert "edit" not in [each.model_id for each in for_any(trained)]
    assert [each["clip_id"] for each in trained_on(trained, model_of(trained, "edit"))] == seen
    with pytest.raises(UnknownModel, match="fitted to one video"):
        promote(trained, "edit", ann)


def test_a_clip_that_was_withdrawn_stays_out_when_a_snapshot_is_put_back(curated, ann):
    take(curated, "before", "ann")
    withdraw(curated, Selection.of(["m0aaaaa"]), ann)
    restore(curated, "before", ann)
    assert curated.get("clips", ["m0aaaaa"], ["status", "reason"]).to_pylist() == [
        {"status": "rejected", "reason": "Its licence was withdrawn."}
    ]
    approve(curated, Selection.of(["m0aaaaa"]), ann)
    assert curated.get("clips", ["m0aaaaa"], ["status"])["status"].to_pylist() == ["accepted"]
