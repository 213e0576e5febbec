"""Everything in a row."""

from pathlib import Path

import typer

from jobs.console import opening
from jobs.options import (
    Address,
    CatalogUri,
    Columns,
    Generator,
    Layout,
    Licence,
    LicenceEvidence,
    Overrides,
    ProfileOption,
    Source,
    SourceName,
    Strict,
    Workdir,
    Workers,
    open_place,
    open_workspace,
)

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora run demo/videos --workdir demo` · "
    "`video2lora run videos/ -w work -p full --set backbone.model=/models/CogVideoX-5b-I2V --workers 8`"
)
def run(
    source: Source,
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
    layout: Layout = None,
    columns: Columns = None,
    source_name: SourceName = None,
    licence: Licence = None,
    licence_evidence: LicenceEvidence = None,
    generator: Generator = None,
    strict: Strict = False,
    workers: Workers = None,
) -> None:
    """Do everything: raw videos, catalogue, trained hypernetwork, generated videos, report.

    What was done before is not done again: a second run over the same sources goes on where the first ended.
    """
    opening(f"Run {source} in {workdir}")
    place = open_place(source, layout, columns, source_name, licence, licence_evidence, generator, strict)
    workspace = open_workspace(workdir, profile, overrides, catalog, {"train.workers": workers})
    from jobs.standing import tell_if_it_stands

    if tell_if_it_stands(workspace, place):
        return
    from jobs.run import run_all

    run_all(workspace, place, address)
