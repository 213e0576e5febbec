"""The options that several commands share, each said once, and what they mean together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.bucket_dir import workdir_of

if TYPE_CHECKING:
    from jobs.place import Place
    from jobs.workspace import Workspace

# torch takes seeds of 63 bits.
LARGEST_SEED = 2**63 - 1

Source = Annotated[
    str,
    typer.Argument(help="A folder, glob, video, manifest (CSV, JSON, JSONL, Parquet), .tar or s3:// prefix."),
]

Workdir = Annotated[
    Path,
    typer.Option(
        "--workdir",
        "-w",
        parser=workdir_of,
        metavar="DIRECTORY",
        help="Directory of the catalogue, models and results, here or s3://BUCKET/PREFIX; made when missing.",
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
    typer.Option(
        "--set",
        help="Override one setting, as section.key=value; may be repeated. "
        "`video2lora settings` lists the keys.",
    ),
]
CatalogUri = Annotated[
    str | None,
    typer.Option(
        "--catalog", help="A catalogue elsewhere, e.g. s3://bucket/effects [default: WORKDIR/catalog]"
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Join this Ray cluster instead of starting a local Ray; with --submit the command runs there as "
        "a job, see `video2lora job --help`.",
    ),
]


def _workers(text: str) -> str:
    """`4` as it is, `2-8` as the setting's [2, 8]."""
    least, dash, most = text.partition("-")
    numbers = [least, most] if dash else [least]
    if not all(each.isdecimal() and each.isascii() and int(each) for each in numbers):
        raise typer.BadParameter(f"{text!r} is neither a number of workers nor a range of them, as 4 or 2-8")
    return f"[{least}, {most}]" if dash else least


Layout = Annotated[
    str | None,
    typer.Option(help="How the data set lies on disk: folder, manifest, vap-data, … [default: detected]"),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="A manifest's own name of a column, as caption=prompt; label= for none; may be repeated.",
    ),
]
SourceName = Annotated[
    str | None, typer.Option("--source-name", help="Data set or provider, where the manifest names none.")
]
Licence = Annotated[str | None, typer.Option(help="Terms of use, where the manifest states none.")]
LicenceEvidence = Annotated[str | None, typer.Option(help="Where those terms are stated.")]
Generator = Annotated[str | None, typer.Option(help="The model that made the videos.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse a manifest with entries that name no file that is there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Workers = Annotated[
    str | None,
    typer.Option(
        parser=_workers,
        metavar="N|MIN-MAX",
        help="Training workers, one GPU each where there are GPUs; 2-8: as many as can be had, at least 2.",
    ),
]


Polish = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=10_000,
        help="Then fit the adapter to the reference itself, in so many steps (40 are usual); each costs "
        "generate.polish.batch_size forward and backward passes of the model [default: 0].",
    ),
]


_opened: list[Workspace] = []


def as_text(words: str | None) -> str | None:
    """A person's words as the value of a setting: "7" and "true" are words too."""
    return None if words is None else json.dumps(words, ensure_ascii=False)


def open_workspace(
    workdir: Path,
    profile: str | None,
    overrides: list[str] | None,
    catalog: str | None,
    settings: Mapping[str, object] | None = None,
) -> Workspace:
    """The working directory as asked for; `settings` come from options of their own, None where not given."""
    from jobs.workspace import Workspace

    given = {key: value for key, value in (settings or {}).items() if value is not None}
    overrides = [*(overrides or []), *(f"{key}={value}" for key, value in given.items())]
    workspace = Workspace(workdir, profile, overrides, catalog)
    _opened.append(workspace)
    return workspace


def keep_opened() -> None:
    """At the end of a command: have in their buckets what it wrote in working directories that are there."""
    while _opened:
        _opened.pop().keep()


def open_place(
    source: str,
    layout: str | None,
    columns: list[str] | None,
    source_name: str | None,
    licence: str | None,
    licence_evidence: str | None,
    generator: str | None,
    strict: bool = False,
) -> Place:
    """Where the videos are, and what is true of those that say nothing of it themselves."""
    from jobs.place import Place

    said = {"source": source_name, "licence": licence, "generator": generator}
    return Place.of(source, layout, columns or [], said | {"licence_evidence": licence_evidence}, strict)
