"""Many clips from a list."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import (
    Address,
    AsJson,
    CatalogUri,
    Overrides,
    ProfileOption,
    Workdir,
    open_workspace,
)

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora batch clips.csv -w work -o renders` · "
    "`video2lora batch clips.jsonl --model pocket --workers 2` · a list: "
    "`printf 'reference,first_frame,prompt,seed\\nmelt.mp4,mug.png,a red mug,3\\n' > clips.csv`"
)
def batch(
    listed: Annotated[
        Path,
        typer.Argument(
            help="A CSV or JSONL file, a clip a line: reference (or adapter; several with ; between, weights "
            "as melt.mp4=0.7), first_frame, prompt, and if wanted output, polish, seed, steps, guidance, "
            "strength, adapter_guidance, dynamic_guidance, negative_prompt. Files are named from the list's"
            " own folder.",
        ),
    ],
    workdir: Workdir = Path("work"),
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the clips [default: WORKDIR/generated/…]."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model_id, or pocket for the shipped one [default: the champion or newest]."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help="Each holds the model [default: one for each GPU, else each CPU]."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace outputs that are there and were not made by video2lora.")
    ] = False,
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Make the clips of a list, spread over GPUs: what is there is kept, what fails has a row with its
    reason."""
    opening(f"Make the clips of {listed}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    if model != "pocket":
        workspace.existing_catalog()
    from jobs.batch import batch_job

    batch_job(workspace, listed, output, model, workers, address, force, as_json)
