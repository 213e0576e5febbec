"""The web."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.bucket_dir import require_folder
from jobs.console import opening
from jobs.options import Address, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora serve -w demo` · `video2lora serve -w demo --model pocket` · "
    "`video2lora serve -w demo --host 0.0.0.0 --user ada`"
)
def serve(
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. On any other than this machine's own, tokens are asked for: "
            "one for viewers, one for curators, printed at the start."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    generate: Annotated[
        bool,
        typer.Option(
            "--generate/--no-generate",
            help="Make clips on request, on a page and for programs (/api, and OpenAI's /v1/videos). Workers "
            "start when the first request comes.",
        ),
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model of requests that name none; `pocket` needs no training "
            "[default: the champion or newest]"
        ),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            help="Somebody who gets a token of his own, and with it requests that only he sees; may be "
            "repeated."
        ),
    ] = None,
    address: Address = None,
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Look at the catalogue, curate it and generate clips in a browser, until Ctrl-C."""
    opening(f"Serve {catalog or workdir}")
    require_folder(workdir, "The server")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.serve import serve_job

    serve_job(workspace, host, port, generate, model, user or (), address)
