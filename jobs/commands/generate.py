"""A reference's effect on a picture of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import (
    LARGEST_SEED,
    CatalogUri,
    Overrides,
    Polish,
    ProfileOption,
    Workdir,
    as_text,
    open_workspace,
)

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora generate -w demo --reference melt.mp4 --first-frame mug.png "
    "--prompt 'a red mug' -o out.mp4` · `video2lora generate -w demo --reference melt.mp4=0.7 "
    "--reference glow.mp4=0.3 --first-frame mug.png --prompt 'a red mug' --seeds 0-7 -o out.mp4` · "
    "`video2lora generate -w demo --adapter melt.safetensors --strength 0.5 --first-frame mug.png "
    "--prompt 'a red mug' -o out.mp4`"
)
def generate(
    first_frame: Annotated[
        str, typer.Option(help="Where to begin: an image, a video (its first frame) or a clip_id.")
    ],
    prompt: Annotated[str, typer.Option(help="What the scene shows.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="The effect to copy: a video, a GIF, a picture or a clip_id. Several are added up, as in "
            "melt.mp4=0.7; without weights each counts alike."
        ),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="An effect as a file, in the place of a reference or beside some: a .safetensors of "
            "`adapter predict`, or a LoRA of this backbone; FILE=0.5 weighs it."
        ),
    ] = None,
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
    strength: Annotated[
        float | None,
        typer.Option(
            help="How much of the adapter: 1 as it is, 0 the backbone without it, less than 0 the other way, "
            "away from the effect [default: 1]."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Denoising steps.")] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="Towards the prompt; 1 or less runs the prompt alone, in half the time."),
    ] = None,
    dynamic_guidance: Annotated[
        bool | None,
        typer.Option(
            "--dynamic-guidance/--no-dynamic-guidance",
            help="Guidance along a cosine of the timestep, as diffusers' use_dynamic_cfg.",
        ),
    ] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(help="What to lead away from; counts where guidance is above 1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=LARGEST_SEED, help="Same seed, same video.")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="A clip for each of several seeds, and a sheet of them: 0-7, or 0,5,9."),
    ] = None,
    polish: Polish = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output where it is there.")] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Predict a LoRA from a reference video and make the frozen model perform its effect on a first frame."""
    named = [*(reference or []), *(adapter or [])]
    opening(f"Generate from {', '.join(named)}")
    settings = {
        "generate.steps": steps,
        "generate.seed": seed,
        "generate.strength": strength,
        "generate.guidance": guidance,
        "generate.dynamic_guidance": dynamic_guidance,
        "generate.negative_prompt": as_text(negative_prompt),
        "generate.polish.steps": polish,
    }
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    from jobs.asked import check_request, check_seeds, effects_of

    many = check_seeds(seed, seeds)
    # The shipped model needs no catalogue that somebody filled.
    known = workspace.catalog if model == "pocket" else workspace.existing_catalog()
    effects = effects_of(known, reference or [], adapter or [])
    check_request(known, effects, first_frame, output, many, force)
    from jobs.generate import generate_job

    generate_job(workspace, effects, first_frame, prompt, output, model, many, force)
