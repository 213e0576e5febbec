"""Retraining on stored features: due or not, under a lease, judged, every decision a row and a page."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from catalog.champions import champion, models
from catalog.decisions import begin, decisions
from catalog.errors import LeaseHeld
from catalog.leases import read, take
from catalog.vocabulary import Trigger, Verdict
from jobs.report.decision import write_decision
from jobs.train import run_settings
from pipeline.pairing.plan import NoPairs
from pipeline.retraining.holdout import NothingHeldOut
from pipeline.retraining.retrain import LEASE, Asked, Place, retrain, what_would_happen
from tests.jobs.test_train import CLIPS, TINY, add_features, fill, workspace
from training.backbones.registry import locate_backbone

ENCODER = locate_backbone(TINY).encoder_id
BY_HAND, IF_DUE = Asked("ann", "to see"), Asked("cron", if_due=True)
QUICK = ("train.steps=2", "train.batch_size=2", "train.evaluate_every=null", "train.checkpoint_every=1")


class Night:
    """A working directory whose features are random, and what was said while it retrained."""

    def __init__(self, folder, *overrides: str) -> None:
        self.workspace = workspace(folder, *QUICK, *overrides)
        self.catalog = self.workspace.existing_catalog()
        self.settings = run_settings(self.workspace.profile)
        self.rules = self.workspace.profile.retrain.model_copy(
            update={"lease_seconds": 2.0, "holdout_pairs": 4, "draws": 1, "looks": 1}
        )
        self.said: list[str] = []
        self.place = Place(
            self.workspace.folder("runs"),
            self.workspace.folder("models"),
            self.said.append,
            lambda done, total, row: None,
            lambda decision: write_decision(folder, decision),
        )

    def retrain(self, asked: Asked):
        return retrain(self.catalog, self.settings, self.rules, asked, self.place, "here:1", "revision")

    def page(self, decision) -> str:
        return (self.workspace.root / decision.evidence).read_text()


@pytest.mark.slow
def test_a_night_on_stored_features_goes_from_the_first_model_to_the_last_look(tmp_path, ray_cluster):
    fill(tmp_path, CLIPS, ENCODER)
    night = Night(tmp_path)
    assert what_would_happen(night.catalog, night.settings, night.rules, IF_DUE)[0].startswith("due (first)")
    first = night.retrain(IF_DUE)
    assert (first.verdict, first.triggers) == (Verdict.PROMOTED, ("first",))
    assert champion(night.catalog) == first.challenger
    assert read(night.catalog, LEASE).holder is None

    # Nothing has happened since: one row that counts.
    for _ in range(2):
        quiet = night.retrain(IF_DUE)
    assert (quiet.verdict, quiet.times) == (Verdict.NOT_DUE, 2)
    assert "0 clips that train are new" in night.page(quiet)
    assert len(decisions(night.catalog)) == 2

    # A person asks; two steps more on random features are no better, for sure, and the champion stays.
    night.settings = replace(night.settings, train=night.settings.train.model_copy(update={"steps": 3}))
    kept = night.retrain(BY_HAND)
    assert kept.verdict == Verdict.KEPT
    assert kept.looked
    assert champion(night.catalog) == first.challenger
    assert {check["name"] for check in kept.figures["checks"]} == {
        "whole", "unseen", "category:melt", "category:pan", "category:unseen"
    }  # fmt: skip
    assert "Champion and challenger on the same pairs" in night.page(kept)
    assert len(models(night.catalog)) == 2

    # The one look is spent: nothing is trained for nothing, and new pairs are wanted.
    trained = sorted(night.place.runs.iterdir())
    spent = night.retrain(BY_HAND)
    assert spent.verdict == Verdict.NO_LOOKS
    assert "was looked at 1 times" in spent.reasons[-1]
    assert sorted(night.place.runs.iterdir()) == trained
    with pytest.raises(NothingHeldOut, match="holdout-1 holds the same pairs already"):
        night.retrain(replace(BY_HAND, new_holdout=True))

    # A process died over a decision: whoever comes next goes on with it, on the snapshot that it had.
    night.rules = night.rules.model_copy(update={"looks": 5})
    ago = datetime.now(UTC) - timedelta(hours=1)
    dead = take(night.catalog, LEASE, "there:7", seconds=2.0, clock=lambda: ago)
    left = begin(dead, [Trigger.AGE], ["old"], night.catalog.snapshot(), first.challenger)
    add_features(night.catalog, ["later"], ENCODER)
    gone_on = night.retrain(IF_DUE)
    assert gone_on.decision_id == left.decision_id
    assert (gone_on.attempts, gone_on.snapshot, gone_on.triggers) == (2, left.snapshot, ("age",))
    assert any("there:7 held the lease" in sentence for sentence in night.said)
    assert any("goes on with decision" in sentence for sentence in night.said)
    assert json.loads(json.dumps(gone_on.figures))["champion"] == first.challenger


def test_while_another_process_retrains_nobody_else_does(tmp_path):
    fill(tmp_path, CLIPS, ENCODER)
    night = Night(tmp_path)
    theirs = take(night.catalog, LEASE, "there:7", "retrains", seconds=2.0)
    with theirs.kept(), pytest.raises(LeaseHeld, match=r"held by there:7 \(retrains\)"):
        night.retrain(IF_DUE)
    assert decisions(night.catalog) == []


def test_a_decision_that_three_processes_died_of_has_failed(tmp_path):
    fill(tmp_path, CLIPS, ENCODER)
    night = Night(tmp_path)
    night.rules = night.rules.model_copy(update={"attempts": 1})
    lease = take(night.catalog, LEASE, "there:7", seconds=2.0)
    begin(lease, [Trigger.AGE], ["old"], night.catalog.snapshot(), None)
    lease.release()
    failed = night.retrain(IF_DUE)
    assert failed.verdict == Verdict.FAILED
    assert "1 process has died of it" in failed.reasons[-1]


def test_what_cannot_be_trained_is_a_decision_that_failed_and_a_sentence(tmp_path):
    lonely = {"melt-0": ("melt", "train"), "melt-1": ("melt", "val")}
    fill(tmp_path, lonely, ENCODER)
    night = Night(tmp_path)
    with pytest.raises(NoPairs):
        night.retrain(BY_HAND)
    [failed] = decisions(night.catalog)
    assert failed.verdict == Verdict.FAILED
    assert read(night.catalog, LEASE).holder is None
