"""What a finished `run` stood on and left behind, so that the same request sees at a glance that it is done.

Light on purpose: neither torch nor Ray nor LanceDB is loaded to see that all of it still stands.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from jobs.console import out
from jobs.place import Place
from jobs.runs import process_seconds
from jobs.workspace import Workspace, code_revision, write_json

# Written by every command and by the web, also by what changes nothing that a run stands on.
_NOT_LOOKED_AT = ("runs.lance", "requests.lance")


def remember(workspace: Workspace, place: Place, made: Iterable[Path], said: list[str]) -> None:
    """Write down what this run stood on and what it made; nothing where an input is due to be tried again.

    Args:
        made: files and folders that the run made and that have to be as they are.
        said: what a person is told when all of it still stands.
    """
    from lancedb.expr import col

    from catalog.vocabulary import Outcome

    tried_again = col("outcome") == Outcome.QUARANTINED
    _file(workspace).unlink(missing_ok=True)
    if workspace.catalog.scan("sources", ["source_uri"], where=tried_again).num_rows:
        return
    if (now := _stood_on(workspace, place)) is not None:
        write_json(_file(workspace), {"stood_on": now, "made": _facts(made), "said": said})


def tell_if_it_stands(workspace: Workspace, place: Place) -> bool:
    """Whether a run would find nothing to do; if so, says so, and where what it made lies."""
    try:
        then = json.loads(_file(workspace).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    made = [Path(name) for name in then["made"]]
    if _facts(made) != then["made"] or _stood_on(workspace, place) != then["stood_on"]:
        return False
    out.print("Nothing is to be done: inputs, settings, weights and catalogue are as the last run left them.")
    for line in then["said"]:
        out.print(line, markup=False)
    out.print(f"\nDone in {process_seconds():.1f} s.")
    return True


def _file(workspace: Workspace) -> Path:
    return workspace.root / "reports" / "run.stands.json"


def _stood_on(workspace: Workspace, place: Place) -> dict[str, Any] | None:
    """Everything that a run's result depends on, as JSON; None where that cannot be told at a glance."""
    from pipeline.intake.stat import stat_all
    from pipeline.sources.objects import is_object

    tables = sorted(Path(workspace.catalog_uri).glob("*.lance"))
    if is_object(place.location) or not tables:  # a catalogue in a bucket has none to be seen here either
        return None
    found = place.survey(workspace.profile.ingest.s3_endpoint)
    stats = stat_all([source.location for source in found.sources])
    inputs = [[asdict(source), asdict(stat)] for source, stat in zip(found.sources, stats, strict=True)]
    profile = workspace.profile
    weights = (profile.backbone.model, profile.embed.pretrained, profile.train.start_from or "")
    return {
        "code": code_revision(),
        "profile": profile.model_dump(mode="json"),
        "place": [str(Path(place.location).absolute()), found.layout, place.strict],
        "inputs": sha256(json.dumps(inputs).encode()).hexdigest(),
        # Lance writes a file for each version of a table.
        "catalog": _facts(table / "_versions" for table in tables if table.name not in _NOT_LOOKED_AT),
        "weights": _facts(Path(name) for name in weights if name and Path(name).exists()),
    }


def _facts(places: Iterable[Path]) -> dict[str, list]:
    """Size and time of change of every file of these files and folders; empty of what is not there."""
    return {str(place): [_fact(file) for file in _files(place)] for place in places}


def _files(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(file for file in place.rglob("*") if file.is_file())
    elif place.is_file():
        yield place


def _fact(file: Path) -> list:
    told = file.stat()
    return [file.name, told.st_size, told.st_mtime_ns]
