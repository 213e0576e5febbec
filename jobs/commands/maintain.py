"""Keeping the catalogue small, and copies of it."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(epilog="Examples: `video2lora maintain -w work` · `video2lora maintain --keep-hours 1 -w work`")
def maintain(
    keep_hours: Annotated[
        int,
        typer.Option(min=0, help="Old versions stay so long, for jobs that still read them."),
    ] = 24,
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Merge small files, refresh indices, drop old versions that no snapshot names, while others work."""
    opening(f"Maintain {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.maintain import maintain_job

    maintain_job(workspace, keep_hours, as_json)


@app.command(epilog="Example: `video2lora backup /backups/effects-2026-11-26 -w work`")
def backup(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Copy the catalogue as it is at this moment, with its history and snapshots, while others work."""
    opening(f"Back {catalog or workdir} up to {folder}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.maintain import backup_job

    backup_job(workspace, folder, as_json)


@app.command(epilog="Example: `video2lora restore /backups/effects-2026-11-26 -w new-work`")
def restore(
    backup: Annotated[Path, typer.Argument(help="A folder that `video2lora backup` made.")],
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
) -> None:
    """Make the catalogue of a working directory, which has none, of a backup."""
    opening(f"Restore {backup} into {workdir}")
    workspace = open_workspace(workdir, profile, overrides, None)
    from jobs.maintain import restore_job

    restore_job(workspace, backup, as_json)
