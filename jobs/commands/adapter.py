"""What a model makes of a reference, as a file."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import LARGEST_SEED, CatalogUri, Overrides, Polish, ProfileOption, Workdir, open_workspace

group = typer.Typer(
    name="adapter",
    no_args_is_help=True,
    help="Adapters: what a model makes of a reference.",
    epilog="Example: `video2lora adapter predict melt.mp4 --model pocket -o melt.safetensors`",
)


@group.callback()
def _adapters() -> None:
    pass


@group.command(
    epilog="Examples: `video2lora adapter predict melt.mp4 --model pocket -o melt.safetensors` · "
    "`video2lora adapter predict melt-1.mp4 melt-2.mp4 -w work --polish 40 -o melt.safetensors`"
)
def predict(
    reference: Annotated[
        list[str],
        typer.Argument(
            help="A video file or a clip_id. Several that show one effect: predicted from the first, "
            "polished on all."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A .safetensors file; the LoRA that diffusers loads goes beside it."
        ),
    ],
    workdir: Workdir = Path("work"),
    model: Annotated[
        str | None,
        typer.Option(help="A model_id, or pocket for the shipped one [default: the champion or newest]."),
    ] = None,
    polish: Polish = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Of polish: same seed, same adapter.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output where it is there.")] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Predict the adapter of a reference video and write it, with where it comes from in its header."""
    opening(f"Predict the adapter of {', '.join(reference)}")
    settings = {"generate.polish.steps": polish, "generate.seed": seed}
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    from jobs.asked import check_adapter_request

    known = workspace.catalog if model == "pocket" else workspace.existing_catalog()
    check_adapter_request(known, reference, output, force)
    from jobs.generate import adapter_job

    adapter_job(workspace, reference, output, model)
