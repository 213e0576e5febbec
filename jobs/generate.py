"""`video2lora generate` and `adapter`: a reference video becomes a LoRA, which performs its effect."""

import hashlib
import json
import re
from pathlib import Path

from jobs.asked import check_output
from jobs.job import Job, say
from jobs.report.caveats import caveats
from jobs.workspace import Workspace
from pipeline.adapters import Reference, save_adapter
from pipeline.example import read_first_frame
from pipeline.studio import Studio, find_model
from training.files import lora_beside
from training.methods.lightlora.export import save_lora
from training.settings import GenerateSettings


def generate_job(
    workspace: Workspace,
    reference: str,
    first_frame: str,
    prompt: str,
    output: Path | None,
    model: str | None,
    force: bool = False,
) -> None:
    """`video2lora generate`; the request was looked at by `check_request`."""
    catalog = workspace.catalog
    release = find_model(catalog, workspace.folder("models"), model)
    profile = workspace.profile
    if output is None:
        name = default_name(reference, first_frame, prompt, release.model_id, profile.generate)
        output = workspace.folder("generated") / name
        check_output(output, [], force)
    # Decoded before a model is loaded: a file that cannot be used is said at once.
    shown, picture = Reference.read(catalog, reference), read_first_frame(catalog, first_frame)
    with Job("generate", workspace, ray=False) as job:
        with job.step("load the model"):
            studio = Studio(job.catalog, release, profile.backbone, profile.generate)
        with job.step("generate") as progress:
            made = studio.make(shown, picture, prompt, progress)
        video, lora = made.save(output)
        job.report["generated"] = [{"video": str(video), "lora": lora and str(lora), "prompt": prompt}]
        say(f"{video}, and its LoRA in {lora}" if lora else str(video))
        for sentence in [*made.notes, *caveats(profile.backbone, release)]:
            say(sentence)


def adapter_job(workspace: Workspace, references: list[str], output: Path, model: str | None) -> None:
    """`video2lora adapter predict`; the request was looked at by `check_adapter_request`."""
    catalog, profile = workspace.catalog, workspace.profile
    release = find_model(catalog, workspace.folder("models"), model)
    shown = [Reference.read(catalog, name) for name in references]
    with Job("adapter", workspace, ray=False) as job:
        with job.step("load the model"):
            studio = Studio(job.catalog, release, profile.backbone, profile.generate)
        with job.step("adapter") as progress:
            made = studio.adapter(shown, progress)
        size = save_adapter(output, made)
        lora = lora_beside(output) if made.lora is not None else None
        if lora is not None:
            save_lora(lora, made.lora, made.facts)
        job.report["adapter"] = {"file": str(output), "lora": lora and str(lora), **made.facts}
        beside = f", and as a LoRA that diffusers loads {lora}" if lora else ""
        say(f"{output}, {size / 1e3:.1f} kB{beside}")
        for sentence in [*shown[0].notes(), *caveats(profile.backbone, release)]:
            say(sentence)


def default_name(
    reference: str, first_frame: str, prompt: str, model_id: str, settings: GenerateSettings
) -> str:
    """A file name for a person, which differs where anything differs that the clip depends on."""
    whole = json.dumps([reference, first_frame, prompt, model_id, settings.model_dump(mode="json")])
    digest = hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{slug(reference)}--{slug(first_frame)}--seed-{settings.seed}-{digest}.mp4"


def slug(name: str) -> str:
    """A file's or a clip's name as part of another file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:32] or "clip"
