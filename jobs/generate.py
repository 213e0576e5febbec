"""`video2lora generate`: a reference video becomes a LoRA, the LoRA performs its effect on a first frame."""

import hashlib
import re
from pathlib import Path

from jobs.caveats import caveats
from jobs.job import Job, say
from jobs.workspace import Workspace
from pipeline.studio import Studio, find_model


def generate_job(
    workspace: Workspace,
    reference: str,
    first_frame: str,
    prompt: str,
    output: Path | None,
    model: str | None,
) -> None:
    """`video2lora generate`."""
    release = find_model(workspace.existing_catalog(), workspace.folder("models"), model)
    profile = workspace.profile
    with Job("generate", workspace, ray=False) as job:
        with job.step("load the model"):
            studio = Studio(job.catalog, release, profile.backbone, profile.generate)
        if output is None:
            output = workspace.folder("generated") / f"{_slug(reference)}--{_slug(first_frame)}.mp4"
        with job.step("generate") as progress:
            video, lora = studio.make(reference, first_frame, prompt, progress).save(output)
        job.report["generated"] = [{"video": str(video), "lora": lora and str(lora), "prompt": prompt}]
        say(f"{video}, and its LoRA in {lora}" if lora else str(video))
        for sentence in caveats(profile.backbone, release):
            say(sentence)


def _slug(name: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:32]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
