"""`video2lora edit`: a LoRA fitted to a video, and the video made anew under its edited first frame."""

from dataclasses import replace
from pathlib import Path

from jobs.asked import BadRequest, check_output
from jobs.generate import slug
from jobs.job import Job, say
from jobs.report.caveats import RANDOM
from jobs.workspace import Workspace, code_revision
from pipeline.edit import (
    EditedVideo,
    EditingSettings,
    Editor,
    lora_of,
    plan_edit,
    require_editing,
)
from pipeline.editing.ask import EditRequest, read_edit
from pipeline.editing.folder import write_edit_folder
from pipeline.editing.stopping import stop_edit, stoppable
from pipeline.example import is_there
from training.methods.registry import editing


def edit_request(
    video: str | None,
    first_frame: str | None,
    prompt: str | None,
    mask: str | None,
    inverted: bool,
    also: list[str],
    caption: str | None,
    lora: Path | None,
    preparing: bool = False,
) -> EditRequest:
    """What was typed, put together; raises BadRequest where something is missing or no number."""
    if video is None:
        raise BadRequest("--video is missing: name a video file or a clip_id, or many edits with --batch.")
    if prompt is None and not preparing:
        raise BadRequest("--prompt is missing: say what the edited video shows.")
    frames = {}
    for each in also:
        number, equals, name = each.partition("=")
        if not equals or not name or not number.strip().isdecimal():
            raise BadRequest(
                f"--also {each!r} is not of the form NUMBER=PICTURE, as in --also 24=frame24.png."
            )
        frames[int(number)] = name
    return EditRequest(video, prompt or "", first_frame, mask, inverted, frames, caption, lora and str(lora))


def edit_job(workspace: Workspace, request: EditRequest, output: Path | None, force: bool) -> None:
    """One edit."""
    settings = editing_settings(workspace)
    output = output or workspace.folder("generated") / default_name(request, settings)
    check_outputs(output, request, force)
    require_editing(workspace.catalog, settings)
    # Read before a model is loaded: a file that cannot be used is said at once.
    asked = read_edit(workspace.catalog, request)
    with Job("edit", workspace, ray=False) as job:
        with job.step("load the model"):
            editor = Editor(job.catalog, workspace.root, settings)
        with job.step("edit") as progress:
            made = editor.make(asked, stoppable(progress, output))
        job.report["edited"] = [_saved(made, output)]
        for sentence in _sentences(made, output, settings):
            say(sentence)


def batch_job(
    workspace: Workspace, batch: Path, folder: Path | None, address: str | None, force: bool
) -> None:
    """Many edits, each a Ray task; those that are done are not done again."""
    from pipeline.editing.batch import read_batch, work_off

    settings = editing_settings(workspace)
    require_editing(workspace.catalog, settings)
    folder = folder or workspace.folder("generated")
    requests = read_batch(batch, folder, lambda request: default_name(request, settings))
    for request, output in requests:
        check_outputs(output, request, force=True)
    places = {
        "reads": [name for request, _ in requests for name in _files(request)],
        "writes": [output.parent for _, output in requests],
    }
    with Job("edit", workspace, address, **places) as job, job.step("edit") as progress:
        report = work_off(job.catalog, workspace.root, settings, requests, progress, again=force)
    job.report["edited"] = report
    for row in report:
        say(f"{row['output']}: {row['state']}{'' if not row['error'] else ', ' + row['error']}")
    if any(row["error"] for row in report):
        raise BadRequest(
            f"{sum(bool(row['error']) for row in report)} of {len(report)} edits could not be made; the same"
            " command makes those again."
        )


def prepare_job(workspace: Workspace, request: EditRequest, folder: Path) -> None:
    """`--prepare`: the frames of a video, for whoever edits one, and for the released tool."""
    settings = editing_settings(workspace)
    workspace.remember_profile()
    with_masks = request.mask is not None or request.first_frame is not None
    asked = read_edit(workspace.catalog, request if with_masks else replace(request, mask="everything"))
    written = write_edit_folder(folder, asked, settings.edit.token, with_masks)
    say(f"{folder}: {', '.join(written)}")
    if asked.edited is None:
        say(f"Edit {folder}/source_frames/00000.png, save it as {folder}/edited_image.png, and type")
        say(f"  video2lora edit -w {workspace.name} --video {folder} --prompt '…'")


def stop_job(output: Path) -> None:
    """`--stop`."""
    if not output.parent.is_dir():
        raise BadRequest(f"{output.parent} is no folder: name the video that is being made, as -o named it.")
    stop_edit(output)
    say(f"Whoever makes {output} stops after the step that it is at; its state is kept.")


def plan_job(workspace: Workspace) -> None:
    """`--plan`."""
    for line in plan_edit(editing_settings(workspace)):
        say(line)


def editing_settings(workspace: Workspace) -> EditingSettings:
    """The sections of a profile that an edit takes."""
    profile = workspace.profile
    return EditingSettings(
        profile.backbone,
        editing(profile.edit.rank),
        profile.edit,
        profile.model_dump(mode="json"),
        code_revision(),
    )


def check_outputs(output: Path, request: EditRequest, force: bool) -> None:
    """Refuse an output as `check_output` does, and LoRA files that are there."""
    check_output(output, [Path(name) for name in _named(request)], force)
    other = lora_of(output, "comfyui")
    if other.exists() and not force:
        raise BadRequest(f"{other} is there already. --force replaces it; -o names another file.")


def _named(request: EditRequest) -> list[str]:
    """What may be files: a video may be a clip, a mask a word."""
    named = [request.video, request.first_frame, request.mask, request.lora, *request.also.values()]
    return [name for name in named if name]


def _files(request: EditRequest) -> list[str]:
    return [name for name in _named(request) if is_there(name)]


def default_name(request: EditRequest, settings: EditingSettings) -> str:
    """A file name for a person, which differs where anything differs that the edit depends on."""
    return f"{slug(request.video)}--edit-{settings.asked(request)}.mp4"


def _saved(made: EditedVideo, output: Path) -> dict[str, object]:
    return {**{name: str(path) for name, path in made.save(output).items()}, **made.facts}


def _sentences(made: EditedVideo, output: Path, settings: EditingSettings) -> list[str]:
    said = [
        f"{output}, and its LoRA {made.facts['model_id']} beside it: {lora_of(output, 'diffusers').name} for"
        f" diffusers, {lora_of(output, 'comfyui').name} for ComfyUI",
        f"{made.facts['may_change']:.0%} of the video might change",
    ]
    if (near := made.facts["preserved_db"]) is not None:
        there = (
            "there the video's own pixels stand"
            if made.facts["put_back"]
            else "edit.put_back=true puts the video's own pixels there"
        )
        said.append(f"what the mask preserves the model itself made to {near:.1f} dB of the video; {there}")
    return [*said, RANDOM] if settings.backbone.random_weights else said
