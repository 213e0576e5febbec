"""The options that several commands share, each said once."""

from pathlib import Path
from typing import Annotated

import typer

Workdir = Annotated[
    Path,
    typer.Option(
        "--workdir", "-w", help="Directory of the catalogue, models and results; made when missing."
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile", "-p", help="tiny, full, or a .toml file [default: the workdir's own, tiny in a new one]"
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one setting, as section.key=value; may be repeated."),
]
CatalogUri = Annotated[
    str | None,
    typer.Option(
        "--catalog", help="A catalogue elsewhere, e.g. s3://bucket/effects [default: WORKDIR/catalog]"
    ),
]
Address = Annotated[
    str | None, typer.Option("--address", help="Join this Ray cluster instead of starting a local Ray.")
]
Layout = Annotated[
    str | None,
    typer.Option(help="How the data set lies on disk: folder, manifest, vap-data, … [default: detected]"),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="A manifest's own name of a column, as caption=prompt; may be repeated."),
]
SourceName = Annotated[
    str | None, typer.Option("--source-name", help="Data set or provider, where the manifest names none.")
]
Licence = Annotated[str | None, typer.Option(help="Terms of use, where the manifest states none.")]
LicenceEvidence = Annotated[str | None, typer.Option(help="Where those terms are stated.")]
Generator = Annotated[str | None, typer.Option(help="The model that made the videos.")]
