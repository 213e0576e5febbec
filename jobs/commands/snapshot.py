"""Named, frozen states of the catalogue."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from jobs.acting import Acting, acting
from jobs.console import opening
from jobs.options import AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer(no_args_is_help=True)
group = typer.Typer()
group.add_typer(app, name="snapshot", help="Name, compare and put back states of the catalogue.")

Name = Annotated[
    str, typer.Argument(help="A snapshot, `model:ID` (what that model was trained on) or `now`.")
]


@app.command(epilog='Example: `video2lora snapshot take v1 --note "first clean set" -w work`')
def take(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    note: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    workdir: Workdir = Path("work"),
    author: Annotated[
        str | None, typer.Option(help="Who takes it [default: the name you are logged in by]")
    ] = (None),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Name the catalogue as it is now; no clean-up takes it away."""
    opening(f"Snapshot {name[:40]} of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.snapshots import take_snapshot

    take_snapshot(workspace, name, author or getpass.getuser(), note, as_json)


@app.command(
    "list", epilog="Examples: `video2lora snapshot list -w work` · `video2lora snapshot list --json`"
)
def list_(
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List the snapshots, and the models with what they were trained on."""
    opening(f"Snapshots of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.snapshots import list_snapshots

    list_snapshots(workspace, as_json)


@app.command(
    epilog="Examples: `video2lora snapshot compare v1 -w work` · "
    "`video2lora snapshot compare model:3fa9 v2 --json`"
)
def compare(
    one: Name,
    other: Name = "now",
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Say what came, what went, what moved from which category to which, and what the terms are."""
    opening(f"Compare {one[:40]} with {other[:40]} in {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.snapshots import compare_snapshots

    compare_snapshots(workspace, one, other, as_json)


@app.command(epilog="Example: `video2lora snapshot restore v1 --dry-run -w work`")
@acting
def restore(
    act: Acting,
    name: Name,
    set_aside_later: Annotated[
        bool, typer.Option("--set-aside-later", help="Also reject the clips that came after it.")
    ] = False,
) -> None:
    """Put back what people decided as it was then; this is an act, and can be undone."""
    from catalog.snapshots import restore

    act.do(lambda catalog, by: restore(catalog, name, by, set_aside_later))


@app.command(epilog="Example: `video2lora snapshot remove v1 -w work`")
def remove(
    name: Annotated[str, typer.Argument(help="A snapshot.")],
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Forget a snapshot; what no other snapshot, model or run reads may be cleaned up from then on."""
    opening(f"Remove snapshot {name[:40]} of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.snapshots import remove_snapshot

    remove_snapshot(workspace, name)
