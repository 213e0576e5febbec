"""The hypernetwork, trained on the catalogue."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import Address, CatalogUri, Overrides, ProfileOption, Workdir, Workers, open_workspace

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora train -w work --steps 2000` · "
    "`video2lora train -w work --workers 2 --set train.lr=5e-5` · `video2lora train -w work --snapshot v1`"
)
def train(
    workdir: Workdir = Path("work"),
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps.")] = None,
    workers: Workers = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the memory that a worker would need, and stop.")
    ] = False,
    go_on: Annotated[
        bool,
        typer.Option("--continue", help="Go on from the newest run, with what has changed in its settings."),
    ] = False,
    snapshot: Annotated[
        str | None, typer.Option(help="Train on this named snapshot [default: the catalogue as it is now].")
    ] = None,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Train the hypernetwork on reference/target pairs; killed, it goes on from its last checkpoint."""
    opening(f"{'Plan a training' if plan else 'Train'} on {catalog or workdir}")
    settings = {"train.steps": steps, "train.workers": workers}
    workspace = open_workspace(workdir, profile, overrides, catalog, settings)
    if not plan:
        known = workspace.existing_catalog()
        if snapshot is not None:
            from catalog.snapshots.named import named

            named(known, snapshot)  # a name that means nothing is said before anything loads
    from jobs.train import train_job

    train_job(workspace, address, plan, go_on, snapshot)
