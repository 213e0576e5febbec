"""What became of the inputs."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora sources --rejected -w work` · "
    "`video2lora sources --rejected --json -w work` · `video2lora sources --set-aside-gone -w work`"
)
def sources(
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Only what made no clip of its own, with the reason.")
    ] = False,
    set_aside_gone: Annotated[
        bool,
        typer.Option("--set-aside-gone", help="Keep clips out of everything whose files are gone."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    page: Annotated[bool, typer.Option("--page", help="Write WORKDIR/sources.html too.")] = False,
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List the inputs of every ingestion with what became of them."""
    opening(f"List the inputs of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.sources import set_aside_job, sources_job

    if set_aside_gone:
        set_aside_job(workspace)
    else:
        sources_job(workspace, rejected, as_json, page)
