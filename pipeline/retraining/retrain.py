"""Retraining: is it due, one run under a lease, a challenger, the gate, a champion; every decision is a row.

A process that dies leaves its decision `running`; whoever has the lease next goes on with it: the same
snapshot, so the same run from its last checkpoint, and the same look at the holdout.
"""

import _thread
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog import snapshots
from catalog.champions import PROMOTE, Model, champion, for_any, marks, model_of, promotion, trained_on
from catalog.changes import Change, Kind
from catalog.decisions import Decision, amend, begin, close, decisions, looks_taken, note, take_up
from catalog.errors import CatalogError, LeaseLost, SnapshotMissing
from catalog.leases import Lease, take
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import Trigger, Verdict
from pipeline.champions import release_of
from pipeline.errors import PipelineError
from pipeline.prepare import prepare_run
from pipeline.retraining.due import Due, due, situation
from pipeline.retraining.gate import judge, named_margins
from pipeline.retraining.holdout import Holdout, compare, freeze, newest_holdout, still_fair
from pipeline.retraining.settings import RetrainSettings
from pipeline.run import RunSettings
from training.backbones.registry import locate_backbone
from training.errors import TrainingError
from training.evaluation.intervals import relative_reduction
from training.release import Release
from training.run.folder import RunBusy

LEASE = "retrain"


@dataclass(frozen=True)
class Place:
    """Where a retraining works and whom it tells.

    Attributes:
        runs, models: folders, shared by all workers.
        say: takes a sentence for a person.
        progress: of training; see `training.run.loop.train`.
        page: writes the evidence of a decision, and returns where, as a path from the working directory.
        runs_uri: s3:// address of the copy of `runs` that counts; None where that folder does.
    """

    runs: Path
    models: Path
    say: Callable[[str], None]
    progress: Callable[[int, int | None, dict], None]
    page: Callable[[Decision], str]
    runs_uri: str | None = None


@dataclass(frozen=True)
class Asked:
    """What is asked for: by whom, why, and whether only if it is due."""

    by: str
    reason: str = ""
    if_due: bool = False
    new_holdout: bool = False


def what_would_happen(
    catalog: Catalog, settings: RunSettings, rules: RetrainSettings, asked: Asked
) -> list[str]:
    """The sentences of a dry run; nothing is written."""
    open_one = next((each for each in decisions(catalog) if each.running), None)
    if open_one is not None:
        return [
            f"decision {open_one.decision_id} is running: it would be gone on with, if its process is dead"
        ]
    found = _why(catalog, rules, asked)
    if not found.triggers:
        return ["not due: nothing would be trained", *found.reasons]
    said = [f"due ({', '.join(found.triggers)}): would snapshot the catalogue and train", *found.reasons]
    used = _in_use(catalog)
    if used is None:
        return [*said, "there is no champion and no other model: the new one would become the champion"]
    holdout = newest_holdout(catalog, locate_backbone(settings.backbone).encoder_id)
    if holdout is None or asked.new_holdout:
        return [*said, f"would freeze a holdout, and judge the new model against {used.model_id} on it"]
    taken = looks_taken(catalog, holdout.name, used.model_id)
    left = rules.looks - taken
    if left <= 0:
        return [*said, _no_looks(holdout, used.model_id, taken)]
    return [
        *said,
        f"would judge it against {used.model_id} on {holdout.name}, of which {left} looks are left",
    ]


def retrain(
    catalog: Catalog,
    settings: RunSettings,
    rules: RetrainSettings,
    asked: Asked,
    place: Place,
    holder: str,
    code_revision: str,
) -> Decision:
    """Train and decide, if it is due or asked for; returns the decision.

    Raises:
        LeaseHeld: another process retrains.
        LeaseLost: another process took over from this one; nothing more was written.
        CatalogError, PipelineError, TrainingError: what cannot be trained; the decision says so too.
    """
    if (noted := nothing_to_do(catalog, rules, asked, place.page)) is not None:
        return noted
    lease = take(catalog, LEASE, holder, "retrains", rules.lease_seconds)
    for sentence in lease.said:
        place.say(sentence)
    lost: list[bool] = []

    def stop() -> None:
        lost.append(True)
        _thread.interrupt_main()

    with lease.kept(stop):
        try:
            return _Retraining(lease, settings, rules, asked, place, code_revision).run()
        except KeyboardInterrupt:
            if lost:
                raise LeaseLost(
                    f"Another process has the lease {LEASE!r} by now and goes on with this retraining;"
                    " nothing more was written here."
                ) from None
            raise


def nothing_to_do(
    catalog: Catalog, rules: RetrainSettings, asked: Asked, page: Callable[[Decision], str]
) -> Decision | None:
    """The decision that nothing is due, written down; None where something is to be done, or gone on with."""
    if not asked.if_due or any(each.running for each in decisions(catalog)):
        return None
    found = _why(catalog, rules, asked)
    if found.triggers:
        return None
    return _with_page(
        catalog, note(catalog, Verdict.NOT_DUE, found.reasons, asked.by, champion(catalog)), page
    )


class _Retraining:
    """One retraining under a lease, from its snapshot to its verdict."""

    def __init__(
        self,
        lease: Lease,
        settings: RunSettings,
        rules: RetrainSettings,
        asked: Asked,
        place: Place,
        code_revision: str,
    ) -> None:
        self.lease, self.catalog = lease, lease.catalog
        self.settings, self.rules, self.asked, self.place = settings, rules, asked, place
        self.code_revision = code_revision
        self._fresh = False  # whether the holdout was frozen here

    def run(self) -> Decision:
        """Go on with what a dead process left, or begin; see `retrain`."""
        decision = self._taken_up() or self._begun()
        if not decision.running:
            return _with_page(self.catalog, decision, self.place.page)
        try:
            return self._carried_out(decision)
        except (LeaseLost, RunBusy):
            raise
        except (CatalogError, PipelineError, TrainingError) as error:
            self._closed(decision, Verdict.FAILED, [*decision.reasons, str(error)])
            raise

    def _taken_up(self) -> Decision | None:
        left = next((each for each in decisions(self.catalog) if each.running), None)
        if left is None:
            return None
        if left.attempts >= self.rules.attempts:
            died = "1 process has" if left.attempts == 1 else f"{left.attempts} processes have"
            reason = f"{died} died of it: look into the run's folder, then `video2lora retrain`"
            mine = take_up(self.lease, left)
            return close(self.lease, mine, Verdict.FAILED, [*left.reasons, reason])
        self.place.say(
            f"goes on with decision {left.decision_id}, which {left.actor} began at"
            f" {left.begun_at:%Y-%m-%d %H:%M} UTC and left"
        )
        return take_up(self.lease, left)

    def _begun(self) -> Decision:
        """A new decision; closed at once where nothing may be trained for it."""
        found = _why(self.catalog, self.rules, self.asked)
        used = _in_use(self.catalog)
        name = used and used.model_id
        if not found.triggers:  # another process has just trained
            return note(self.catalog, Verdict.NOT_DUE, found.reasons, self.asked.by, name)
        if used is not None:
            holdout = self._holdout()
            taken = looks_taken(self.catalog, holdout.name, used.model_id)
            if taken >= self.rules.looks:
                reasons = [*found.reasons, _no_looks(holdout, used.model_id, taken)]
                return note(self.catalog, Verdict.NO_LOOKS, reasons, self.asked.by, name)
        named = f"retrain-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        taken = snapshots.take(self.catalog, named, self.asked.by, "; ".join(found.reasons))
        return begin(self.lease, found.triggers, found.reasons, taken.snapshot, name)

    def _carried_out(self, decision: Decision) -> Decision:
        release = self._trained(decision)
        decision = amend(self.lease, decision, challenger=release.model_id, run_id=release.facts["run_id"])
        challenger = model_of(self.catalog, release.model_id)
        if champion(self.catalog) == release.model_id:
            if decision.champion not in (None, release.model_id):  # promoted before its process died
                told = [*decision.reasons, *challenger.gate.get("reasons", ())]
                return self._closed(decision, Verdict.PROMOTED, told, figures=dict(challenger.gate))
            same = "training gave the champion again: nothing that it learns from has changed"
            return self._closed(decision, Verdict.KEPT, [*decision.reasons, same])
        if (mark := marks(self.catalog).get(release.model_id)) is not None:
            marked = f"the challenger is no champion: it {mark.sentence()}"
            return self._closed(decision, Verdict.KEPT, [*decision.reasons, marked])
        if decision.champion in (None, release.model_id):
            first = "there was no other model to be better than: it is the first champion"
            return self._promoted(decision, challenger, [first], {})
        return self._judged(decision, challenger, release)

    def _trained(self, decision: Decision) -> Release:
        run = prepare_run(
            self.catalog,
            self.place.runs,
            self.settings,
            snapshot=decision.snapshot,
            uri=self.place.runs_uri,
            models=self.place.models,
        )
        for sentence in run.sentences():
            self.place.say(sentence)
        result = run.train(self.place.progress)
        self.lease.require()
        return run.publish(self.catalog, result, self.place.models, self.code_revision, self._keep_row)[0]

    def _keep_row(self, row: Mapping[str, Any]) -> None:
        """The model's lineage, written while the lease is held or not at all; known ones stay as they are."""
        if not self.catalog.get("models", [row["model_id"]], ["model_id"]).num_rows:
            self.lease.apply("train", [Change("models", [dict(row)], Kind.ADD)], {"model": row["model_id"]})

    def _judged(self, decision: Decision, challenger: Model, release: Release) -> Decision:
        holdout = self._holdout()
        before = model_of(self.catalog, str(decision.champion))
        pairs, said = still_fair(holdout, self.catalog, self._clips_of(before) | self._clips_of(challenger))
        # Written before it is looked at: who dies looking has looked.
        decision = amend(self.lease, decision, holdout=holdout.name, looked=True)
        self.place.say(
            f"judges {challenger.model_id} against {before.model_id} on {len(pairs)} pairs of {holdout.name}"
        )
        losses, every = compare(
            self.catalog,
            holdout,
            pairs,
            release_of(self.catalog, self.place.models, before),
            release,
            self.settings.backbone,
            self.settings.pairs,
            self.rules.draws,
            self.settings.train.batch_size,
        )
        names = CategoryNames.load(self.catalog)
        known = {key: names.name_of(key) or key for key in self.catalog.distinct("categories", "category_id")}
        found = judge(losses, named_margins(self.rules, known))
        figures = found.figures() | {
            "champion": before.model_id,
            "challenger": challenger.model_id,
            "holdout": holdout.name,
            "pairs": len(pairs),
            "look": looks_taken(self.catalog, holdout.name, before.model_id),
            "looks": self.rules.looks,
            "gaps": {
                name: relative_reduction(each.same, each.other, losses.categories).to_dict()
                for name, each in every.items()
            },
        }
        told = [*said, *found.reasons]
        if found.passed:
            return self._promoted(decision, challenger, told, figures)
        return self._closed(
            decision, Verdict.KEPT, [*decision.reasons, *told, *self._despite(before)], figures=figures
        )

    def _despite(self, before: Model) -> list[str]:
        """What a person should know where the champion stays although it should not be used."""
        mark = marks(self.catalog).get(before.model_id)
        if mark is None:
            return []
        return [
            f"{before.model_id} stays the champion although it {mark.sentence()}; `video2lora models promote`"
            " takes another one"
        ]

    def _promoted(
        self, decision: Decision, challenger: Model, told: Sequence[str], figures: dict[str, Any]
    ) -> Decision:
        gate = {"decision": decision.decision_id, "reasons": list(told)} | figures
        changes = promotion(self.catalog, challenger.model_id, gate)
        # As the promotion itself saw it: what changes after this is refused.
        before = next((row["model_id"] for row in changes[0].seen if row["champion"]), None)
        if before not in (None, decision.champion):
            other = f"{before} was promoted meanwhile, which the challenger was not held against"
            return self._closed(decision, Verdict.KEPT, [*decision.reasons, *told, other], figures=figures)
        reason = f"decision {decision.decision_id}"
        payload = {"model": challenger.model_id, "before": before, "reason": reason}
        self.lease.apply(PROMOTE, changes, payload)
        return self._closed(decision, Verdict.PROMOTED, [*decision.reasons, *told], figures=figures)

    def _closed(
        self, decision: Decision, verdict: Verdict, reasons: Sequence[str], **columns: Any
    ) -> Decision:
        told = replace(
            decision, verdict=verdict, reasons=tuple(reasons), decided_at=datetime.now(UTC), **columns
        )
        return close(self.lease, decision, verdict, reasons, evidence=self.place.page(told), **columns)

    def _holdout(self) -> Holdout:
        encoder_id = locate_backbone(self.settings.backbone).encoder_id
        found = newest_holdout(self.catalog, encoder_id)
        if found is None or (self.asked.new_holdout and not self._fresh):
            found = freeze(
                self.catalog, encoder_id, self.settings.pairs, self.rules.holdout_pairs, self.lease.holder
            )
            self._fresh = True
            self.place.say(f"froze {found.name}: {len(found.pairs)} pairs of clips that never train")
        return found

    def _clips_of(self, model: Model) -> set[str]:
        try:
            return {row["clip_id"] for row in trained_on(self.catalog, model)}
        except SnapshotMissing:
            return set()


def _why(catalog: Catalog, rules: RetrainSettings, asked: Asked) -> Due:
    found = due(situation(catalog, datetime.now(UTC)), rules)
    if asked.if_due:
        return found
    told = f"{asked.by} asked for it" + (f": {asked.reason}" if asked.reason else "")
    return Due((*found.triggers, Trigger.HAND), (told, *found.reasons))


def _in_use(catalog: Catalog) -> Model | None:
    """The champion, or the newest model where none was promoted: what `generate` takes."""
    every = for_any(catalog)
    return next((each for each in every if each.champion), next(iter(every), None))


def _no_looks(holdout: Holdout, model_id: str, taken: int) -> str:
    return (
        f"{holdout.name} was looked at {taken} times to replace {model_id}, and no more looks are allowed:"
        " one would pass by luck in the end. Hold other clips out, then `video2lora retrain --new-holdout`"
    )


def _with_page(catalog: Catalog, decision: Decision, page: Callable[[Decision], str]) -> Decision:
    evidence = page(decision)
    if evidence != decision.evidence:
        catalog.update("decisions", [{"decision_id": decision.decision_id, "evidence": evidence}])
    return replace(decision, evidence=evidence)
