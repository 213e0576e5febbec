"""The catalogue as a data set of other tools, and the terms of what it holds."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.console import opening
from jobs.options import AsJson, CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora export parquet out/ --snapshot v1 -w work` · "
    "`video2lora export videox-fun out/ --licence CC0 --licence CC-BY-4.0 -w work` · "
    "`video2lora export parquet out/ --layout atlas -w work`"
)
def export(
    format: Annotated[
        str,
        typer.Argument(help="parquet, huggingface, finetrainers, videox-fun, webdataset or fiftyone."),
    ],
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    snapshot: Annotated[
        str | None, typer.Option(help="Of this named snapshot [default: the catalogue as it is now].")
    ] = None,
    where: Annotated[str | None, typer.Option(help="Only clips that match a filter.")] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(
            help="Only clips of these terms; may be repeated [default: the profile's pairs.licences]."
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Only these splits; may be repeated [default: all; train for a trainer's format]."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="atlas: coordinates and neighbours of every clip, for a map.")
    ] = None,
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """Write clips as a data set, each with its category, caption, terms and where these are stated."""
    opening(f"Export {catalog or workdir} to {folder}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.export import export_job

    export_job(workspace, format, folder, snapshot, where, licence, split, layout, as_json)


@app.command(
    epilog="Examples: `video2lora licences -w work` · "
    "`video2lora licences --without unknown --least 20 -w work`"
)
def licences(
    without: Annotated[
        list[str] | None, typer.Option(help="What would be left without these; may be repeated.")
    ] = None,
    least: Annotated[int, typer.Option(min=1, help="Clips that a category should have.")] = 20,
    workdir: Workdir = Path("work"),
    as_json: AsJson = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
) -> None:
    """List the terms of the clips, and say what would be lost without some of them."""
    opening(f"Licences of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.export import licences_job

    licences_job(workspace, without, least, as_json)
