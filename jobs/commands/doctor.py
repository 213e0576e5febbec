"""Whether everything is fit for work."""

from pathlib import Path

import typer

from jobs.console import opening
from jobs.options import Address, AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora doctor -w work` · `video2lora doctor -p full --address 10.0.0.5:6379` · "
    "`video2lora doctor --catalog s3://bucket/effects --json`"
)
def doctor(
    workdir: Workdir = Path("work"),
    address: Address = None,
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Look whether environment, GPUs, weights, catalogue, storage and cluster are fit for the profile's work.

    Says of each what was found and what to do about it; status 2 where something is in the way of work.
    Changes nothing and fetches nothing.
    """
    opening(f"Looking at this machine and {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.doctor import doctor_job

    doctor_job(workspace, address, as_json)
