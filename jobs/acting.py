"""What all commands that curate share: who acts, on which catalogue, how it is told."""

import functools
import getpass
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import opening, out
from jobs.options import CatalogUri, Overrides, ProfileOption, Workdir, open_workspace

if TYPE_CHECKING:
    from catalog.acts import Applied
    from catalog.curation import Author, Selection
    from catalog.store import Catalog

Clips = Annotated[
    list[str] | None, typer.Argument(help="clip_ids, or beginnings of four digits that only one clip has.")
]
Where = Annotated[
    str | None,
    typer.Option(help="All clips that match a filter, as in \"category = 'melt' and motion < 0.01\"."),
]
Expect = Annotated[
    int | None, typer.Option(min=0, help="How many clips these are; if others by now, nothing is changed.")
]


@dataclass(frozen=True)
class Acting:
    """One command's act: where, by whom, and how it is told."""

    workdir: Workdir = Path("work")
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = (
        False
    )
    as_of: Annotated[
        int | None,
        typer.Option(min=0, help="The last event you had seen; what was changed since is refused."),
    ] = None
    author: Annotated[str | None, typer.Option(help="Who acts [default: the name you are logged in by]")] = (
        None
    )
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False
    profile: ProfileOption = None
    overrides: Overrides = None
    catalog: CatalogUri = None

    def do(self, act: Callable[["Catalog", "Author"], "Applied"]) -> None:
        """Open the catalogue, act, and say what changed and how it is taken back."""
        workspace = open_workspace(self.workdir, self.profile, self.overrides, self.catalog)
        from catalog.curation import Author

        as_of = None if self.as_of is None else str(self.as_of)
        author = Author(self.author or getpass.getuser(), as_of, self.dry_run)
        done = act(workspace.existing_catalog(), author)
        if self.as_json:
            print(json.dumps(asdict(done) | {"dry_run": self.dry_run}))
            return
        for line in told(done, self.dry_run, self.workdir):
            out.print(f"  {line}", markup=False)


def told(done: "Applied", dry_run: bool, workdir: Path) -> list[str]:
    """What an act did, for a person."""
    rows = counted(done.changed)
    aside = [f"{done.left_out} that match were rejected or are copies, and stay so"] if done.left_out else []
    if dry_run:
        return [f"would change {rows or 'nothing'}; nothing was changed", *aside]
    if not done.event:
        return ["all is as wished already; nothing was changed", *aside]
    return [f"changed {rows}; take it back with `video2lora undo {done.event} -w {workdir}`", *aside]


def counted(changed: Mapping[str, int]) -> str:
    """Rows by table, as in `1 category, 5 clips`."""
    return ", ".join(f"{count} {_rows(table, count)}" for table, count in changed.items())


def _rows(table: str, count: int) -> str:
    if count != 1:
        return table
    return {"categories": "category"}.get(table, table.removesuffix("s"))


def selected(clips: list[str] | None, where: str | None, expect: int | None = None) -> "Selection":
    """The clips that were typed."""
    from catalog.curation import Selection

    return Selection(tuple(clips or ()), where, expect)


def acting(command: Callable[..., None]) -> Callable[..., None]:
    """A command `command(act, …)` as typer takes it: its own parameters, and the options of `Acting`."""

    @functools.wraps(command)
    def typed(**given: Any) -> None:
        shared = {name: given.pop(name) for name in Acting.__dataclass_fields__}
        # Before the command's own imports, which take seconds.
        noun = command.__module__.rpartition(".")[2].removesuffix("history")
        words = f"{noun} {command.__name__.replace('_', '-')}".strip().capitalize()
        opening(f"{words} in {shared['catalog'] or shared['workdir']}")
        command(Acting(**shared), **given)

    _, *own = inspect.signature(command).parameters.values()
    parameters = [
        *own,
        *(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
            )
            for field in Acting.__dataclass_fields__.values()
        ),
    ]
    typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    typed.__annotations__ = {each.name: each.annotation for each in parameters}
    return typed
