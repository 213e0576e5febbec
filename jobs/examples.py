"""The clips that `run` generates for its page: predicted and polished, kept while they are right."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from catalog.vocabulary import Split
from jobs.job import Job, say
from jobs.report.page import ASSETS
from jobs.workspace import Workspace
from pipeline.adapters import Reference
from pipeline.example import read_first_frame
from pipeline.showcase import choose_examples
from pipeline.studio import Studio
from pipeline.video.transcode import write_video
from training.errors import BadMethodSettings
from training.files import lora_beside, write_atomically
from training.polish import CannotPolish
from training.progress import Progress
from training.release import Release


@dataclass(frozen=True)
class Example:
    """A clip to show, of the effect of `reference` on the first frame of `target`, rows of `clips`.

    Its files are named by all that the clips depend on, so that one that is there is the right one.

    Attributes:
        video: under the predicted adapter.
        polished: under the same, polished; None where none is asked for.
    """

    video: Path
    polished: Path | None
    reference: dict[str, Any]
    target: dict[str, Any]

    @classmethod
    def of(cls, workspace: Workspace, model_id: str, reference: dict, target: dict) -> "Example":
        settings = workspace.profile.generate.model_dump(mode="json")
        whole = json.dumps([reference["clip_id"], target["clip_id"], target["caption"], model_id, settings])
        digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
        name = f"{reference['clip_id'][:12]}--{target['clip_id'][:12]}-{digest}"
        folder, polish = workspace.folder("generated"), workspace.profile.examples.polish
        polished = folder / f"{name}-polished-{polish}.mp4" if polish else None
        return cls(folder / f"{name}.mp4", polished, reference, target)

    @property
    def prompt(self) -> str:
        return self.target["caption"] or ""

    @property
    def missing(self) -> bool:
        """Whether a clip of it is still to be made."""
        return not self.video.exists() or self.to_polish is not None

    @property
    def to_polish(self) -> Path | None:
        """The polished clip, where it is still to be made: there is none, nor a reason why not."""
        there = self.polished is None or self.polished.exists() or self.polished.with_suffix(".txt").exists()
        return None if there else self.polished


def generate_examples(job: Job, release: Release) -> None:
    """Generate the examples that are not there yet; the model is loaded only for those."""
    profile = job.workspace.profile
    pairs = choose_examples(job.catalog, profile.examples.count)
    examples = [Example.of(job.workspace, release.model_id, *pair) for pair in pairs]
    missing = [example for example in examples if example.missing]
    with job.step("generate") as progress:
        if missing:
            studio = Studio(job.catalog, release, profile.backbone, profile.generate)
            for number, example in enumerate(missing):
                _make(
                    studio, example, profile.examples.polish, partial(_part, progress, number, len(missing))
                )
    job.report["generated"] = [
        _shown(job, example, number) | {"kept": example not in missing}
        for number, example in enumerate(examples)
    ]


def _make(studio: Studio, example: Example, polish: int, progress: Progress) -> None:
    shown = Reference.read(studio.catalog, example.reference["clip_id"])
    asked = shown, example.target["clip_id"], example.prompt
    steps = studio.settings.steps
    predicted = 0 if example.video.exists() else steps
    every = predicted + (0 if example.to_polish is None else steps + polish)
    if predicted:
        studio.make(*asked, partial(_part_of, progress, 0, every), 0).save(example.video)
    if example.to_polish is None:
        return
    try:
        clip = studio.make(*asked, partial(_part_of, progress, predicted, every), polish)
    except (BadMethodSettings, CannotPolish) as error:
        say(f"No polished clip beside {example.video.name}: {error}")
        # Kept, so that a later run does not try the same again.
        write_atomically(example.to_polish.with_suffix(".txt"), f"{error}\n")
        return
    clip.save(example.to_polish)


def _part(progress: Progress, number: int, of: int, done: int, total: int | None, info: dict) -> None:
    """The progress of one of several works of the same length."""
    progress(number * (total or 0) + done, of * total if total else None, info)


def _part_of(progress: Progress, begun: int, every: int, done: int, total: int | None, info: dict) -> None:
    """The progress of what follows `begun` of `every` steps."""
    progress(begun + done, every, info)


def _shown(job: Job, example: Example, number: int) -> dict[str, Any]:
    """What the report and the page say of an example, paths relative to the workspace."""
    root, catalog = job.workspace.root, job.catalog
    reference, first_frame = f"{ASSETS}/reference-{number}.mp4", f"{ASSETS}/first-frame-{number}.jpg"
    (root / ASSETS).mkdir(exist_ok=True)
    shown = Reference.read(catalog, example.reference["clip_id"])
    write_video(shown.frames, catalog.spec.fps, root / reference)
    Image.fromarray(read_first_frame(catalog, example.target["clip_id"])).save(root / first_frame)
    lora, polished = lora_beside(example.video), example.polished
    return {
        "category": example.reference["category_id"],
        "seen": example.reference["split"] != Split.OOD,
        "prompt": example.prompt,
        "reference_clip": example.reference["clip_id"],
        "target_clip": example.target["clip_id"],
        "reference": reference,
        "first_frame": first_frame,
        "video": str(example.video.relative_to(root)),
        "polished": str(polished.relative_to(root)) if polished and polished.exists() else None,
        "polish": job.workspace.profile.examples.polish,
        "lora": str(lora.relative_to(root)) if lora.exists() else None,
    }
