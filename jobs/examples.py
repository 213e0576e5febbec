"""The clips that `run` generates for its page: one for each of a few categories, kept while right."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from jobs.job import Job
from jobs.report.page import ASSETS
from jobs.workspace import Workspace
from pipeline.adapters import Reference
from pipeline.example import read_first_frame
from pipeline.showcase import choose_examples
from pipeline.studio import Studio
from pipeline.video.transcode import write_video
from training.files import lora_beside
from training.progress import Progress
from training.release import Release

EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """A clip to show, of the effect of `reference` on the first frame of `target`, rows of `clips`.

    Its file is named by all that the clip depends on, so that one that is there is the right one.
    """

    video: Path
    reference: dict[str, Any]
    target: dict[str, Any]

    @classmethod
    def of(cls, workspace: Workspace, model_id: str, reference: dict, target: dict) -> "Example":
        settings = workspace.profile.generate.model_dump(mode="json")
        whole = json.dumps([reference["clip_id"], target["clip_id"], target["caption"], model_id, settings])
        digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
        name = f"{reference['clip_id'][:12]}--{target['clip_id'][:12]}-{digest}.mp4"
        return cls(workspace.folder("generated") / name, reference, target)

    @property
    def prompt(self) -> str:
        return self.target["caption"] or ""


def generate_examples(job: Job, release: Release) -> None:
    """Generate the examples that are not there yet; the model is loaded only for those."""
    pairs = choose_examples(job.catalog, EXAMPLES)
    examples = [Example.of(job.workspace, release.model_id, *pair) for pair in pairs]
    missing = [example for example in examples if not example.video.exists()]
    with job.step("generate") as progress:
        if missing:
            profile = job.workspace.profile
            studio = Studio(job.catalog, release, profile.backbone, profile.generate)
            for number, example in enumerate(missing):
                told = partial(_part, progress, number, len(missing))
                made = studio.make(
                    example.reference["clip_id"], example.target["clip_id"], example.prompt, told
                )
                made.save(example.video)
    job.report["generated"] = [
        _shown(job, example, number) | {"kept": example not in missing}
        for number, example in enumerate(examples)
    ]


def _part(progress: Progress, number: int, of: int, done: int, total: int | None, info: dict) -> None:
    """The progress of one of several works of the same length."""
    progress(number * (total or 0) + done, of * total if total else None, info)


def _shown(job: Job, example: Example, number: int) -> dict[str, Any]:
    """What the report and the page say of an example, paths relative to the workspace."""
    root, catalog = job.workspace.root, job.catalog
    reference, first_frame = f"{ASSETS}/reference-{number}.mp4", f"{ASSETS}/first-frame-{number}.jpg"
    (root / ASSETS).mkdir(exist_ok=True)
    shown = Reference.read(catalog, example.reference["clip_id"])
    write_video(shown.frames, catalog.spec.fps, root / reference)
    Image.fromarray(read_first_frame(catalog, example.target["clip_id"])).save(root / first_frame)
    lora = lora_beside(example.video)
    return {
        "category": example.reference["category_id"],
        "prompt": example.prompt,
        "reference_clip": example.reference["clip_id"],
        "target_clip": example.target["clip_id"],
        "reference": reference,
        "first_frame": first_frame,
        "video": str(example.video.relative_to(root)),
        "lora": str(lora.relative_to(root)) if lora.exists() else None,
    }
