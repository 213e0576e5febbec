"""`video2lora generate`: a reference becomes a LoRA, which performs its effect on a picture."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from jobs.asked import Effect, check_outputs, outputs_of, sheet_of, weights_of
from jobs.job import Job, say
from jobs.report.caveats import caveats
from jobs.report.pictures import labelled_sheet, moments
from jobs.workspace import Workspace
from pipeline.adapters import Adapter, Reference
from pipeline.example import read_first_frame
from pipeline.generated import GeneratedClip
from pipeline.models import find_model
from pipeline.studio import Studio
from training.files import lora_beside, write_atomically
from training.settings import GenerateSettings


def generate_job(
    workspace: Workspace,
    effects: Sequence[Effect],
    first_frame: str,
    prompt: str,
    output: Path | None,
    model: str | None,
    seeds: Sequence[int] = (),
    force: bool = False,
) -> None:
    """`video2lora generate`; the request was looked at by `check_request`."""
    catalog = workspace.catalog
    release = find_model(catalog, workspace.folder("models"), model)
    profile = workspace.profile
    if output is None:
        name = default_name(effects, first_frame, prompt, release.model_id, profile.generate)
        output = workspace.folder("generated") / name
        check_outputs(output, seeds, [], force)
    # Decoded before a model is loaded: a file that cannot be used is said at once.
    shown = [None if each.adapter else Reference.read(catalog, each.name) for each in effects]
    picture = read_first_frame(catalog, first_frame)
    with Job("generate", workspace, ray=False) as job:
        with job.step("load the model"):
            studio = Studio(job.catalog, release, profile.backbone, profile.generate)
            given = [_given(studio, *pair) for pair in zip(effects, shown, strict=True)]
        asked, weights = (given, picture, prompt), weights_of(effects)
        first = None
        with job.step("generate") as progress:
            if not seeds:
                first = studio.make(*asked, progress, weights=weights)
                first.save(output)
                _tell(job, output, first, prompt, profile.generate.seed)
            places = dict(zip(seeds, outputs_of(output, seeds), strict=True)) if seeds else {}
            rows = []

            def keep(seed: int, clip: GeneratedClip) -> None:
                clip.save(places[seed], lora=seed == seeds[0])

            for seed, clip in (
                studio.seeds(*asked, seeds, progress, weights=weights, keep=keep) if seeds else ()
            ):
                first = first or clip
                rows.append((f"seed {seed}", moments(clip.frames)))
                _tell(job, places[seed], clip, prompt, seed, lora=seed == seeds[0])
        if rows:
            sheet, named = sheet_of(output), zip(effects, shown, strict=True)
            lent = [(_label(each), moments(read.frames)) for each, read in named if read is not None]
            seconds = (catalog.spec.num_frames - 1) / catalog.spec.fps
            write_atomically(sheet, labelled_sheet([*lent, *rows], seconds))
            job.report["sheet"] = str(sheet)
            say(f"{sheet}, all of them side by side")
        for sentence in [*first.notes, *caveats(profile.backbone, release)]:
            say(sentence)


def _label(effect: Effect) -> str:
    """What stands over a reference on a sheet."""
    name = f"reference {Path(effect.name).name}"
    return name if effect.weight == 1 else f"{effect.weight:g} × {name}"


def _given(studio: Studio, effect: Effect, reference: Reference | None) -> Reference | Adapter:
    return studio.load(effect.name) if reference is None else reference


def _tell(job: Job, video: Path, clip: GeneratedClip, prompt: str, seed: int, lora: bool = True) -> None:
    beside = lora_beside(video) if lora and clip.adapter.lora is not None else None
    facts = {"video": str(video), "lora": beside and str(beside), "prompt": prompt, "seed": seed}
    job.report.setdefault("generated", []).append(facts)
    say(f"{video}, and its LoRA in {beside}" if beside else str(video))


def default_name(
    effects: Sequence[Effect], first_frame: str, prompt: str, model_id: str, settings: GenerateSettings
) -> str:
    """A file name for a person, which differs where anything differs that the clip depends on."""
    whole = json.dumps([effects, first_frame, prompt, model_id, settings.model_dump(mode="json")])
    digest = hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{slug(effects[0].name)}--{slug(first_frame)}--seed-{settings.seed}-{digest}.mp4"


def slug(name: str) -> str:
    """A file's or a clip's name as part of another file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:32] or "clip"
