"""`video2lora retrain`: is it due, train, judge, promote; every decision a row and a page."""

import getpass
import json
import os
import socket
from collections.abc import Callable
from dataclasses import asdict
from uuid import uuid4

from catalog.decisions import Decision, decisions
from catalog.errors import LeaseHeld
from catalog.vocabulary import Verdict
from jobs.console import print_table
from jobs.curate import embed_step, encode_step
from jobs.job import Job, say
from jobs.report.decision import write_decision
from jobs.train import run_settings
from jobs.workspace import Workspace, code_revision
from pipeline.retraining.retrain import Asked, Place, nothing_to_do, retrain, what_would_happen


def retrain_job(workspace: Workspace, address: str | None, asked: Asked, dry_run: bool) -> None:
    """Retrain, or say what would happen; of several at once one does it, and the others say so."""
    catalog, profile = workspace.existing_catalog(), workspace.profile
    if dry_run:
        for sentence in what_would_happen(catalog, run_settings(profile), profile.retrain, asked):
            say(f"  {sentence}")
        return
    # A look every minute is to cost a second: no run, no workers.
    decision = nothing_to_do(catalog, profile.retrain, asked, _page_in(workspace))
    if decision is None:
        with Job("retrain", workspace, address) as job:
            try:
                decision = _retrained(job, asked)
            except LeaseHeld as held:
                if not asked.if_due:
                    raise
                say(f"  {held}")
                return
            job.report["decision"] = asdict(decision)
    say(f"Decision {decision.decision_id}: {decision.verdict}")
    for reason in decision.reasons:
        say(f"  {reason}")
    say(f"Open {workspace.root / str(decision.evidence)}")
    if decision.verdict == Verdict.PROMOTED:
        say(f"Take it back: video2lora models rollback -w {workspace.name}")


def print_decisions(workspace: Workspace, limit: int, as_json: bool) -> None:
    """Print what was decided, the newest first."""
    found = decisions(workspace.existing_catalog())[:limit]
    if as_json:
        rows = [asdict(each) | {"snapshot": each.snapshot and each.snapshot.versions} for each in found]
        print(json.dumps(rows, indent=2, default=str))
        return
    rows = [
        (
            each.decision_id,
            f"{(each.decided_at or each.begun_at):%Y-%m-%d %H:%M}",
            each.verdict + (f" ×{each.times}" if each.times > 1 else ""),
            ", ".join(each.triggers),
            each.challenger,
            "; ".join(each.reasons),
        )
        for each in found
    ]
    print_table(
        ("no", "at (UTC)", "verdict", "why", "challenger", "reasons"), rows, f"{len(found)} decisions"
    )


def _retrained(job: Job, asked: Asked) -> Decision:
    workspace, profile = job.workspace, job.workspace.profile
    embed_step(job)
    encode_step(job)
    with job.step("retrain") as progress:
        place = Place(
            workspace.folder("runs"),
            workspace.folder("models"),
            lambda sentence: say(f"  {sentence}"),
            lambda done, total, row: progress(done, total, {"loss": row["loss"]} if "loss" in row else {}),
            _page_in(workspace),
            workspace.runs_uri,
        )
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}"
        rules, revision = profile.retrain, code_revision()
        return retrain(job.catalog, run_settings(profile), rules, asked, place, holder, revision)


def _page_in(workspace: Workspace) -> Callable[[Decision], str]:
    return lambda decision: write_decision(workspace.root, decision)


def asked_by(reason: str | None, if_due: bool, new_holdout: bool) -> Asked:
    """What was typed, in the name of whoever is logged in."""
    return Asked(getpass.getuser(), reason or "", if_due, new_holdout)
