"""The web."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(epilog="Examples: `video2lora serve -w demo` · `video2lora serve -w demo --host 0.0.0.0`")
def serve(
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. On any other than this machine's own, tokens are asked for: "
            "one for viewers, one for curators, printed at the start."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Look at the catalogue and curate it in a browser, until Ctrl-C."""
    opening(f"Serve {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.serve import serve_job

    serve_job(workspace, host, port)
