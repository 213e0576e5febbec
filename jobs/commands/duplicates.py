"""What a person decides about clips that show the same."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.acting import Acting, acting
from jobs.console import opening
from jobs.options import AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer(no_args_is_help=True)
group = typer.Typer()
group.add_typer(
    app, name="duplicates", help="See clips that show the same, choose the one to keep, tell apart."
)


@app.command(
    "list", epilog="Examples: `video2lora duplicates list -w work` · `video2lora duplicates list --json`"
)
def list_(
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List groups that `dedup` found: what differs, and what leaks from training into validation."""
    opening(f"Duplicates of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.duplicates import list_duplicates

    list_duplicates(workspace, as_json)


@app.command(epilog="Example: `video2lora duplicates keep 3f2a90c1 --over 77b0e4d2 --merge -w work`")
@acting
def keep(
    act: Acting,
    clip: Annotated[str, typer.Argument(help="The clip to use.")],
    over: Annotated[list[str], typer.Option(help="A copy of it, which is not used; may be repeated.")],
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Take caption, terms and category from the copies where it has none."),
    ] = False,
) -> None:
    """Use one clip and mark others as its copies; no later `dedup` prefers another."""
    from catalog.curation.duplicates import keep

    act.do(lambda catalog, by: keep(catalog, clip, over, by, merge))


@app.command(epilog="Example: `video2lora duplicates apart 3f2a90c1 77b0e4d2 -w work`")
@acting
def apart(
    act: Acting, clips: Annotated[list[str], typer.Argument(help="Clips that are no copies of each other.")]
) -> None:
    """Tell clips apart for ever: no later `dedup` asks again."""
    from catalog.curation.duplicates import not_duplicates

    act.do(lambda catalog, by: not_duplicates(catalog, clips, by))
