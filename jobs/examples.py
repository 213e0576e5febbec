"""The clips that `run` generates for its page: one for each of a few categories, kept while right."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lancedb.expr import col
from PIL import Image

from catalog.store import Catalog
from catalog.vocabulary import Split, Status
from jobs.job import Job
from jobs.report.page import ASSETS
from jobs.workspace import Workspace
from pipeline.studio import Studio
from pipeline.video.transcode import write_video
from training.files import lora_beside
from training.progress import Progress
from training.release import Release

EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """A clip to show, of the effect of `reference` on the first frame of `target`, rows of `clips`.

    Its files are named by all that the clip depends on, so that one that is there is the right one.
    """

    root: Path
    reference: dict[str, Any]
    target: dict[str, Any]
    stem: str

    @classmethod
    def of(cls, workspace: Workspace, model_id: str, reference: dict, target: dict) -> "Example":
        settings = workspace.profile.generate.model_dump(mode="json")
        whole = json.dumps([reference["clip_id"], target["clip_id"], target["caption"], model_id, settings])
        digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
        stem = f"{reference['clip_id'][:12]}--{target['clip_id'][:12]}-{digest}"
        return cls(workspace.root, reference, target, stem)

    @property
    def prompt(self) -> str:
        return self.target["caption"] or ""

    @property
    def video(self) -> Path:
        return self.root / "generated" / f"{self.stem}.mp4"

    @property
    def shown_reference(self) -> Path:
        return self.root / ASSETS / f"{self.stem}-reference.mp4"

    @property
    def first_frame(self) -> Path:
        return self.root / ASSETS / f"{self.stem}-first-frame.jpg"

    def complete(self) -> bool:
        """Whether an earlier run made it; the video is written last."""
        return all(path.exists() for path in (self.video, self.shown_reference, self.first_frame))

    def row(self, kept: bool) -> dict[str, Any]:
        """What the report and the page say of it, paths relative to the workspace."""
        lora = lora_beside(self.video)
        return {
            "category": self.reference["category_id"],
            "prompt": self.prompt,
            "reference_clip": self.reference["clip_id"],
            "target_clip": self.target["clip_id"],
            "reference": str(self.shown_reference.relative_to(self.root)),
            "first_frame": str(self.first_frame.relative_to(self.root)),
            "video": str(self.video.relative_to(self.root)),
            "lora": str(lora.relative_to(self.root)) if lora.exists() else None,
            "kept": kept,
        }


def generate_examples(job: Job, release: Release) -> None:
    """Generate the examples that are not there yet; the model is loaded only for those."""
    pairs = choose_examples(job.catalog)
    examples = [Example.of(job.workspace, release.model_id, *pair) for pair in pairs]
    missing = [example for example in examples if not example.complete()]
    with job.step("generate") as progress:
        if missing:
            profile = job.workspace.profile
            studio = Studio(job.catalog, release, profile.backbone, profile.generate)
            for number, example in enumerate(missing):
                _make(studio, example, partial(_part, progress, number, len(missing)))
    job.report["generated"] = [example.row(kept=example not in missing) for example in examples]


def _part(progress: Progress, number: int, of: int, done: int, total: int | None, info: dict) -> None:
    """The progress of one of several works of the same length."""
    progress(number * (total or 0) + done, of * total if total else None, info)


def _make(studio: Studio, example: Example, progress: Progress) -> None:
    made = studio.make(example.reference["clip_id"], example.target["clip_id"], example.prompt, progress)
    write_video(made.reference.frames, studio.catalog.spec.fps, example.shown_reference)
    Image.fromarray(made.first_frame).save(example.first_frame)
    made.save(example.video)


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
