"""The curating steps: ingest, embed, cluster, encode. Each reads and writes the catalogue."""

import getpass

from jobs import told
from jobs.job import Job, say
from jobs.place import Place
from jobs.workspace import Workspace

_REASONS_SHOWN = 3
_SPELLINGS_SHOWN = 10


def ingest_step(job: Job, place: Place) -> None:
    """Normalise what a place holds; every input ends as a row of `sources`."""
    from pipeline.errors import Interrupted
    from pipeline.ingest import ingest

    settings = job.workspace.profile.ingest
    found = place.survey(settings.s3_endpoint)
    for line in told.of_survey(found, place.location):
        say(f"  {line}")
    job.report |= {"layout": found.layout, "unlisted": found.unlisted, "notes": found.notes}
    job.report["skipped"] = [each._asdict() for each in found.skipped]
    with job.step("ingest") as progress:
        progress(0, len(found.sources))
        try:
            report = ingest(
                found.sources, job.catalog, settings, job.run_id, progress, found.scope, job.start_workers
            )
        except Interrupted as stopped:
            say(f"  {stopped}")
            raise KeyboardInterrupt from stopped
    job.report["counts"] |= report.counts
    job.report |= {"refused": report.refused, "conflicts": report.conflicts}
    job.report["relabelled"] = report.relabelled
    job.report["inputs"] = list(told.of_ingest(report))
    for line in job.report["inputs"]:
        say(f"  {line}")


def embed_step(job: Job, again: bool = False) -> None:
    """Give every accepted clip its CLIP vector, or all of them a new one."""
    from pipeline.embed import embed

    with job.step("embed") as progress:
        report = embed(job.catalog, job.workspace.profile.embed, progress, again)
    job.report["counts"]["embedded"] = report.counts["embedded"]
    job.report["stood"]["embedded"] = report.counts["present"]
    say(f"  {report.items} clips embedded with {report.embedder_id}")


def cluster_step(job: Job) -> None:
    """Give every clip its category and its split."""
    from pipeline.cluster import cluster

    with job.step("cluster") as progress:
        report = cluster(job.catalog, job.workspace.profile.cluster, getpass.getuser(), progress)
    job.report["clusters"] = report.counts | {"event": report.event}
    job.report |= {"unassigned": report.unassigned, "spellings": report.spellings}
    say("  " + ", ".join(f"{count} {name}" for name, count in report.counts.items()))
    if report.unassigned:
        say(f"    {len(report.unassigned)} clips have no category; the report says why, for instance:")
        for clip_id, reason in list(report.unassigned.items())[:_REASONS_SHOWN]:
            say(f"      {clip_id}: {reason}")
    for category in report.empty_held_out:
        say(f"    held out, but without an accepted clip: {category}")
    for category, labels in list(report.spellings.items())[:_SPELLINGS_SHOWN]:
        say(f"    {category} takes the labels {', '.join(map(repr, labels))}")
    if (more := len(report.spellings) - _SPELLINGS_SHOWN) > 0:
        say(f"    and {more} more categories take several labels, in the report")
    if report.event:
        say(f"  take it back with `video2lora undo {report.event}`")


def encode_step(job: Job, again: bool = False) -> None:
    """Compute latents and text embeddings that are not there yet, or all of them again."""
    from pipeline.encode import encode

    profile = job.workspace.profile
    with job.step("encode") as progress:
        report = encode(job.catalog, profile.backbone, profile.encode, progress, again)
    job.report["encoder_id"] = report.encoder_id
    job.report["counts"]["encoded"] = report.counts["encoded"]
    job.report["stood"]["encoded"] = report.counts["present"]
    say(f"  {report.items} clips encoded")


def ingest_job(workspace: Workspace, place: Place, address: str | None) -> None:
    """Run `video2lora ingest`: the rows, and a page to look at them."""
    from jobs.report.page import write_page

    # A bad source is said before a catalogue is made for it.
    place.survey(workspace.profile.ingest.s3_endpoint)
    # Workers are started when there is something for them to do.
    with Job("ingest", workspace, address, ray=False, reads=[place.location]) as job:
        ingest_step(job, place)
        job.measure()
        root = workspace.root
        commands = [f"video2lora {step} --workdir {workspace.name}" for step in ("dedup", "embed", "cluster")]
        page = write_page(root, job.catalog, job.report, commands, [], name="ingest")
        say(f"  Open {page}")


def embed_job(workspace: Workspace, address: str | None, again: bool = False) -> None:
    """Run `video2lora embed`."""
    workspace.existing_catalog()
    with Job("embed", workspace, address) as job:
        embed_step(job, again)


def cluster_job(workspace: Workspace, address: str | None) -> None:
    """Run `video2lora cluster`."""
    workspace.existing_catalog()
    with Job("cluster", workspace, address, ray=False) as job:
        cluster_step(job)


def encode_job(workspace: Workspace, address: str | None, again: bool = False) -> None:
    """Run `video2lora encode`."""
    workspace.existing_catalog()
    with Job("encode", workspace, address) as job:
        encode_step(job, again)
