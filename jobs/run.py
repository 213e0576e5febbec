"""`video2lora run`: from raw videos to generated clips and a report, on one catalogue."""

import shlex
from pathlib import Path

from catalog.names import CategoryNames
from catalog.predicates import quote
from jobs.curate import cluster_step, embed_step, encode_step, ingest_step
from jobs.examples import generate_examples
from jobs.job import Job, say
from jobs.place import Place
from jobs.report.caveats import caveats
from jobs.report.page import ASSETS, write_page
from jobs.review import dedup_step
from jobs.runs import process_seconds
from jobs.standing import remember
from jobs.train import train_step
from jobs.workspace import Workspace, write_json
from pipeline.weights import require_weights
from training.methods.registry import require_pairs
from training.release import Release


def run_all(workspace: Workspace, place: Place, address: str | None) -> None:
    """Do every step; write report.html and report.json into the workspace's folder."""
    place.survey(workspace.profile.ingest.s3_endpoint)  # a bad source is said before anything is made for it
    profile = workspace.profile
    require_pairs(profile.method)
    require_weights(profile.backbone, profile.embed, profile.train.start_from, profile.method.kind)
    with Job("run", workspace, address, reads=[place.location]) as job:
        ingest_step(job, place)
        dedup_step(job)
        embed_step(job)
        cluster_step(job)
        encode_step(job)
        release = train_step(job)
        generate_examples(job, release)
        page = finish(job, release)
    write_json(workspace.root / "report.json", job.report)
    commands = next_commands(job)
    remember(
        workspace,
        place,
        _made(workspace, job, release, page),
        [*job.report["inputs"], *_where(page, commands)],
    )
    memory = f"{job.report['peak_rss_mb']} MB of {job.report['memory_of']}"
    say(f"\nDone in {process_seconds():.0f} s, peak memory {memory}.")
    for line in _where(page, commands):
        say(line)


def _where(page: Path, commands: list[str]) -> list[str]:
    return [f"Open {page}", "", *(f"  {command}" for command in commands)]


def _made(workspace: Workspace, job: Job, release: Release, page: Path) -> list[Path]:
    """What a later run finds done, if it is as it is now."""
    generated = [
        workspace.root / one[name]
        for one in job.report["generated"]
        for name in ("video", "polished", "lora")
        if one[name]
    ]
    return [page, page.with_name(ASSETS), release.path, *generated]


def finish(job: Job, release: Release) -> Path:
    """Write the page; the figures that only the whole job knows are filled in first."""
    versions = job.catalog.versions()
    job.report["tables"] = {name: job.catalog.count(name) for name in versions}
    job.report["caveats"] = caveats(job.workspace.profile.backbone, release)
    job.measure()
    return write_page(job.workspace.root, job.catalog, job.report, next_commands(job), job.report["caveats"])


def next_commands(job: Job) -> list[str]:
    """What a person may type after this run; what is searched for is there to be found."""
    root, name = job.workspace.root, job.workspace.name
    names = CategoryNames.load(job.catalog)
    ids = sorted(filter(None, job.catalog.distinct("clips", "category_id")))
    known = [names.name_of(each) for each in ids]
    commands = []
    if known:
        where = f"category = {quote(known[-1])}"
        where = shlex.quote(where) if set('"$`\\!') & set(where) else f'"{where}"'
        commands += [
            f"video2lora search {shlex.quote(known[0])} --workdir {name} --open",
            f"video2lora search --workdir {name} --where {where}",
        ]
    if job.report.get("generated"):
        one = job.report["generated"][0]
        commands.append(
            f"video2lora generate --workdir {name} --reference {one['reference_clip']} "
            f'--first-frame {root / one["first_frame"]} --prompt "a red ball" -o {root / "mine.mp4"}'
        )
    return [
        *commands,
        f"video2lora train --workdir {name} --steps {2 * job.workspace.profile.train.steps}",
        f"tensorboard --logdir {root / 'runs'}",
    ]
