"""Second thoughts about clips in the catalogue: judged again, near-duplicates marked, and taken back."""

import getpass

from catalog.vocabulary import Status
from jobs.job import Job, say
from jobs.workspace import Workspace

_GROUPS_SHOWN = 20


def dedup_step(job: Job) -> None:
    """Mark clips that a better clip shows too."""
    from pipeline.curation.dedup import deduplicate

    with job.step("dedup") as progress:
        report = deduplicate(job.catalog, job.workspace.profile.dedup, getpass.getuser(), progress)
    job.report["duplicates"] = {"counts": report.counts, "event": report.event, "groups": report.groups}
    job.report["duplicates"]["conflicts"] = report.conflicts
    job.report["duplicates"]["backwards"] = report.backwards
    counts = report.counts
    say(f"  {counts['duplicates']} of {counts['compared']} clips show what a better clip shows")
    if report.conflicts:
        say(f"  {len(report.conflicts)} pairs show the same under two labels and stay as they are:")
        for each in report.conflicts[:_GROUPS_SHOWN]:
            say(f"    {_names(each['clips'])}: {' and '.join(each['categories'])}")
    if report.backwards:
        say(f"  {len(report.backwards)} pairs are one video forwards and backwards: two effects, both kept")
    if report.event:
        say(
            f"  {counts['changed']} clips changed; take it back with `video2lora dedup --undo {report.event}`"
        )


def _names(clips: list[dict]) -> str:
    return ", ".join(f"{clip['file'].rpartition('/')[2]} ({clip['clip_id'][:8]})" for clip in clips)


def dedup_job(workspace: Workspace, undo: str | None) -> None:
    """Run `video2lora dedup`."""
    workspace.existing_catalog()
    with Job("dedup", workspace, ray=False) as job:
        if undo is not None:
            undo_step(job, undo)
            return
        dedup_step(job)
        groups = job.report["duplicates"]["groups"]
        for group in groups[:_GROUPS_SHOWN]:
            say(f"  kept {_names(group['kept'])}; marked {_names(group['copies'])}")
        if len(groups) > _GROUPS_SHOWN:
            say(f"  and {len(groups) - _GROUPS_SHOWN} groups more, in the report")


def undo_step(job: Job, event: str) -> None:
    """Put the clips of an event back as they were."""
    from catalog.acts import undo

    with job.step("undo") as progress:
        undoing = undo(job.catalog, event, actor=getpass.getuser())
        changed = undoing.changed.get("clips", 0)
        progress(changed, changed, {})
    job.report["undo"] = {"event": undoing.event, "changed": changed}
    again = f"; redo with --undo {undoing.event}" if undoing.event else ""
    say(f"  {changed} clips are as they were before event {event}{again}")


def judge_job(workspace: Workspace, policy: str | None, undo: str | None) -> None:
    """Judge clips again: the policy given becomes the workspace's own, so that later ingests judge alike."""
    from pipeline.curation.policy import load_policy

    workspace.existing_catalog()
    if policy is not None:
        profile = workspace.profile
        ingest = profile.ingest.model_copy(update={"policy": load_policy(policy)})
        workspace.adopt(profile.model_copy(update={"ingest": ingest}))
    with Job("judge", workspace, ray=False) as job:
        if undo is not None:
            undo_step(job, undo)
        else:
            judge_step(job)


def judge_step(job: Job) -> None:
    """Judge every clip by its stored scores; copies of a clip that fell are looked at again."""
    from pipeline.curation.rejudge import rejudge

    with job.step("judge") as progress:
        report = rejudge(job.catalog, job.workspace.profile.ingest.policy, getpass.getuser(), progress)
    job.report["judged"] = {"counts": report.counts, "reasons": report.reasons, "event": report.event}
    say("  " + ", ".join(f"{count} {name}" for name, count in report.counts.items()))
    for reason, count in sorted(report.reasons.items()):
        say(f"    {count} × {reason}")
    for name, near in report.unknown_categories.items():
        say(f"  the policy's [categories.{name}] holds for nothing: no category is called that{near}")
    if report.event:
        say(f"  take it back with `video2lora judge --undo {report.event}`")
    if report.counts[Status.DUPLICATE]:
        dedup_step(job)
