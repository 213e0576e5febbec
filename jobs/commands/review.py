"""Second thoughts about clips: judged again, near-duplicates marked, and both taken back."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()

SCORES = ("motion", "brightness", "blur", "letterbox", "flicker", "cut", "errors")


@app.command(epilog="Examples: `video2lora dedup -w work` · `video2lora dedup -w work --undo 12`")
def dedup(
    workdir: Workdir = Path("work"),
    undo: Annotated[
        str | None, typer.Option(help="Take back the act of this number; what `dedup` marked stays apart.")
    ] = None,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Mark near-duplicates (re-encoded, resized, trimmed, mirrored) of better clips; nothing is deleted."""
    opening(f"Look for near-duplicates in {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.review import dedup_job

    dedup_job(workspace, undo)


@app.command(epilog="Example: `video2lora judge -w work --policy policy.toml`")
def judge(
    workdir: Workdir = Path("work"),
    policy: Annotated[
        str | None,
        typer.Option(
            help="A TOML file of bounds: under [scores], lines such as motion = {min = 0.001}; "
            f"under [categories.NAME], what differs there. Scores: {', '.join(SCORES)} [default: as before].",
        ),
    ] = None,
    undo: Annotated[str | None, typer.Option(help="Take back the act of this number.")] = None,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Accept and reject clips again by their stored scores; nothing is decoded."""
    opening(f"Judge the clips of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.review import judge_job

    judge_job(workspace, policy, undo)
