"""What was done to the catalogue, and taking it back."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.acting import Acting, acting
from jobs.console import opening
from jobs.options import CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(epilog="Examples: `video2lora history -w work` · `video2lora history --clip 3f2a90c1 -w work`")
def history(
    clip: Annotated[
        str | None, typer.Option(help="Only what was done to this clip, with its values.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 30,
    workdir: Workdir = Path("work"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List who did what to the catalogue, and what was taken back."""
    opening(f"History of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.history import history_job

    history_job(workspace, clip, limit, as_json)


@app.command(epilog="Examples: `video2lora undo 12 -w work` · `video2lora undo 12 --dry-run -w work`")
@acting
def undo(
    act: Acting, event: Annotated[str, typer.Argument(help="The act's number, see `video2lora history`.")]
) -> None:
    """Take an act back, whole; to take that back is an act too."""
    from catalog.acts import undo

    act.do(lambda catalog, by: undo(catalog, event, actor=by.name, dry_run=by.dry_run))
