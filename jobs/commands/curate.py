"""Raw videos into the catalogue, step by step."""

from pathlib import Path
from typing import Annotated

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
    open_place,
    open_workspace,
)

app = typer.Typer()


@app.command(
    epilog="Examples: `video2lora ingest videos/ -w work` · `video2lora ingest 'clips/**/*.mp4' -w work` · "
    "`video2lora ingest clips.csv -w work --column path=mp4 --column label=fx --licence CC-BY-4.0`"
)
def ingest(
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
) -> None:
    """Normalise raw videos into the catalogue: 49 frames, 8 fps, 480×720; every input gets its row."""
    opening(f"Ingest {source} into {catalog or workdir}")
    place = open_place(source, layout, columns, source_name, licence, licence_evidence, generator, strict)
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.curate import ingest_job

    ingest_job(workspace, place, address)


@app.command(epilog="Examples: `video2lora embed -w work` · `video2lora embed --again -w work`")
def embed(
    workdir: Workdir = Path("work"),
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="All clips, in place of the vectors that there are: of another embedder, too."
        ),
    ] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Compute the CLIP embedding of every accepted clip that has none."""
    opening(f"Embed the clips of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.curate import embed_job

    embed_job(workspace, address, again)


@app.command(epilog="Example: `video2lora cluster -w work --set cluster.val_fraction=0.2`")
def cluster(
    workdir: Workdir = Path("work"),
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Put clips into categories: by their label where they have one, by their embedding where not."""
    opening(f"Cluster the clips of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.curate import cluster_job

    cluster_job(workspace, address)


@app.command(epilog="Examples: `video2lora encode -w work` · `video2lora encode --again -w work`")
def encode(
    workdir: Workdir = Path("work"),
    again: Annotated[
        bool, typer.Option("--again", help="Also the clips that have features: they are replaced.")
    ] = False,
    profile: ProfileOption = None,
    overrides: Overrides = None,
    catalog: CatalogUri = None,
    address: Address = None,
) -> None:
    """Compute VAE latents and text embeddings once, and store them for training."""
    opening(f"Encode the clips of {catalog or workdir}")
    workspace = open_workspace(workdir, profile, overrides, catalog)
    from jobs.curate import encode_job

    encode_job(workspace, address, again)
