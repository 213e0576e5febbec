"""A reference's effect on a picture of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import LARGEST_SEED, CatalogUri, Overrides, Polish, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(
    epilog="Example: `video2lora generate -w demo --reference melt.mp4 --first-frame mug.png "
    "--prompt 'a red mug' -o out.mp4`"
)
def generate(
    reference: Annotated[
        str, typer.Option(help="The effect to copy: a video file, or a clip_id of the catalogue.")
    ],
    first_frame: Annotated[
        str, typer.Option(help="Where to begin: an image, a video (its first frame) or a clip_id.")
    ],
    prompt: Annotated[str, typer.Option(help="What the scene shows.")],
    workdir: Workdir = Path("work"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The mp4 [default: WORKDIR/generated/…]; a LoRA file goes beside it."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model_id, or pocket for the shipped one [default: the champion or newest]."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Denoising steps.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=LARGEST_SEED, help="Same seed, same video.")] = None,
    polish: Polish = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output where it is there.")] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Predict a LoRA from a reference video and make the frozen model perform its effect on a first frame."""
    opening(f"Generate from {reference}")
    settings = {"generate.steps": steps, "generate.seed": seed, "generate.polish.steps": polish}
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    from jobs.asked import check_request

    # The shipped model needs no catalogue that somebody filled.
    known = workspace.catalog if model == "pocket" else workspace.existing_catalog()
    check_request(known, reference, first_frame, output, force)
    from jobs.generate import generate_job

    generate_job(workspace, reference, first_frame, prompt, output, model, force)
