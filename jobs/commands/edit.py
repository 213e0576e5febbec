"""A video made anew under an edited first frame."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import (
    LARGEST_SEED,
    Address,
    CatalogUri,
    Overrides,
    ProfileOption,
    Workdir,
    open_workspace,
)

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora edit -p wan -w edits --video v.mp4 --prepare v/` writes its frames, one of "
    "which you edit · `video2lora edit -p wan -w edits --video v.mp4 --first-frame v/edited_image.png "
    "--mask box:40,30,200,120 --also 24=frame24.png --prompt 'a blue car' -o out.mp4` · "
    "`video2lora edit -p wan -w edits --batch edits.csv`"
)
def edit(
    video: Annotated[
        str | None,
        typer.Option(help="A video file, a clip_id, or a folder as the released LoRA-Edit lays it out."),
    ] = None,
    first_frame: Annotated[
        str | None, typer.Option(help="Its first frame, edited: a picture of the same shape.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What the edited video shows.")] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="What may change: a picture or a video, white where it may; box:left,top,width,height; "
            "difference of the two first frames; everything [default: difference]"
        ),
    ] = None,
    invert_mask: Annotated[
        bool, typer.Option("--invert-mask", help="White in the mask is what stays.")
    ] = False,
    also: Annotated[
        list[str] | None,
        typer.Option(help="A further edited frame by its number, as 24=frame24.png; may be repeated."),
    ] = None,
    caption: Annotated[
        str | None, typer.Option(help="What the video shows as it is [default: the clip's own].")
    ] = None,
    lora: Annotated[Path | None, typer.Option(help="A LoRA file of such an edit: nothing is fitted.")] = None,
    batch: Annotated[
        Path | None,
        typer.Option(help="Many edits: a CSV with columns named as these options (video, first_frame, …)."),
    ] = None,
    prepare: Annotated[
        Path | None,
        typer.Option(help="Write the video's frames and masks into this new folder, and stop."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the memory that a fit would need, and stop.")
    ] = False,
    stop: Annotated[
        Path | None,
        typer.Option(help="Stop the edit that makes this mp4, here or in a batch; its state is kept."),
    ] = None,
    workdir: Workdir = Path("work"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The mp4, or the folder of a batch [default: WORKDIR/generated/…]; LoRA files go beside it.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, max=100_000, help="Of the fit.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=LARGEST_SEED, help="Same seed, same video.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output where it is there.")] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Fit a LoRA to one video and make the video anew under its edited first frame; killed, it goes on."""
    opening("Plan an edit" if plan else f"Edit {batch or video or ''}")
    settings = {"edit.steps": steps, "edit.seed": seed}
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    from jobs.edit import batch_job, edit_job, edit_request, plan_job, prepare_job, stop_job

    if stop is not None:
        stop_job(stop)
        return

    if plan:
        plan_job(workspace)
        return
    if batch is not None:
        batch_job(workspace, batch, output, address, force)
        return
    request = edit_request(
        video, first_frame, prompt, mask, invert_mask, also or [], caption, lora, prepare is not None
    )
    if prepare is not None:
        prepare_job(workspace, request, prepare)
    else:
        edit_job(workspace, request, output, force)
