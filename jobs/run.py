"""`video2lora run`: from raw videos to generated clips and a report, on one catalogue."""

import shutil
from typing import Any

from lancedb.expr import col
from PIL import Image

from catalog.store import Catalog
from catalog.vocabulary import Split, Status
from jobs.caveats import caveats
from jobs.curate import cluster_step, embed_step, encode_step, ingest_step
from jobs.job import Job, say
from jobs.page import ASSETS, write_page
from jobs.place import Place
from jobs.review import dedup_step
from jobs.train import train_step
from jobs.workspace import Workspace, write_json
from pipeline.studio import Studio
from pipeline.video.transcode import write_video
from training.release import Release

EXAMPLES = 3


def run_all(workspace: Workspace, place: Place, address: str | None) -> None:
    """Do every step; write report.html and report.json into the workspace's folder."""
    place.survey(workspace.profile.ingest.s3_endpoint)  # a bad source is said before anything is made for it
    with Job("run", workspace, address) as job:
        ingest_step(job, place)
        dedup_step(job)
        embed_step(job)
        cluster_step(job)
        encode_step(job)
        release = train_step(job)
        generate_examples(job, release)
        page = finish(job, release)
    write_json(workspace.root / "report.json", job.report)
    say(
        f"\nDone in {sum(step['seconds'] for step in job.report['steps']):.0f} s, "
        f"peak memory {job.report['peak_rss_mb']} MB."
    )
    say(f"Open {page}\n")
    for command in next_commands(job):
        say(f"  {command}")


def generate_examples(job: Job, release: Release) -> None:
    """A few videos for the report: reference of one category, first frame and prompt of another clip."""
    assets = job.workspace.folder(ASSETS)
    examples = choose_examples(job.catalog)
    job.report["generated"] = []
    with job.step("generate") as progress:
        profile = job.workspace.profile
        studio = Studio(job.catalog, release, profile.backbone, profile.generate)
        for number, (reference, target) in enumerate(examples):
            made = studio.make(
                reference["clip_id"],
                target["clip_id"],
                target["caption"] or "",
                lambda done, total, info, n=number: progress(n * total + done, len(examples) * total, info),
            )
            name = f"{reference['clip_id'][:12]}--{target['clip_id'][:12]}.mp4"
            video, lora = made.save(job.workspace.folder("generated") / name)
            write_video(made.reference.frames, job.catalog.spec.fps, assets / f"reference-{number}.mp4")
            Image.fromarray(made.first_frame).save(assets / f"first-frame-{number}.jpg")
            shutil.copyfile(video, assets / f"generated-{number}.mp4")
            job.report["generated"].append(
                {
                    "category": reference["category_id"],
                    "prompt": target["caption"] or "",
                    "reference_clip": reference["clip_id"],
                    "target_clip": target["clip_id"],
                    "reference": f"{ASSETS}/reference-{number}.mp4",
                    "first_frame": f"{ASSETS}/first-frame-{number}.jpg",
                    "generated": f"{ASSETS}/generated-{number}.mp4",
                    "video": str(video.relative_to(job.workspace.root)),
                    "lora": lora and str(lora.relative_to(job.workspace.root)),
                }
            )


def choose_examples(catalog: Catalog) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(reference, target) rows of `EXAMPLES` categories, targets not seen in training where there are some.

    The target comes from another category than the reference: what its first frame then does is the
    reference's doing.
    """
    columns = ["clip_id", "category_id", "caption", "split"]
    rows = catalog.scan("clips", columns, col("status") == Status.ACCEPTED).to_pylist()
    rows = sorted((row for row in rows if row["category_id"]), key=lambda row: row["clip_id"])
    members: dict[str, list[dict]] = {}
    for row in rows:
        members.setdefault(row["category_id"], []).append(row)
    order = sorted(members)
    examples = []
    for place, category in enumerate(order[:EXAMPLES]):
        other = members[order[(place + 1) % len(order)]]
        target = next((row for row in other if row["split"] != Split.TRAIN), other[-1])
        if target is not members[category][0]:
            examples.append((members[category][0], target))
    return examples


def finish(job: Job, release: Release):
    """Write the page; the figures that only the whole job knows are filled in first."""
    versions = job.catalog.versions()
    job.report["tables"] = {name: job.catalog.count(name) for name in versions}
    job.report["caveats"] = caveats(job.workspace.profile.backbone, release)
    job.report["peak_rss_mb"] = round(job.memory.peak_mb)
    return write_page(job.workspace.root, job.catalog, job.report, next_commands(job), job.report["caveats"])


def next_commands(job: Job) -> list[str]:
    """What a person may type after this run."""
    root = job.workspace.root
    commands = [
        f'video2lora search "red" --workdir {root}',
        f"video2lora search --workdir {root} --where \"motion > 0.05 and split = 'train'\"",
        f"video2lora train --workdir {root} --steps {2 * job.workspace.profile.train.steps}",
        f"tensorboard --logdir {root / 'runs'}",
    ]
    if job.report.get("generated"):
        one = job.report["generated"][0]
        commands.insert(
            2,
            f"video2lora generate --workdir {root} --reference {one['reference_clip']} "
            f'--first-frame {root / one["first_frame"]} --prompt "a red ball" -o {root / "mine.mp4"}',
        )
    return commands
