"""The one way to print: progress bars on a terminal, plain lines into a log."""

import io
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from jobs.log import tell

# A name that the terminal's encoding cannot show is shown escaped, and never ends a command.
for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):
        _stream.reconfigure(errors="backslashreplace")
# Characters; a caption may be a megabyte.
LONGEST_CELL = 200
# Into a file or a pipe a line may be as long as it needs to be.
WIDE = None if sys.stdout.isatty() else 200
out = Console(highlight=False, soft_wrap=True, width=WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def opening(text: str) -> None:
    """Say what was asked for before anything is loaded: a command answers at once.

    On the error stream, so that what a command prints for programs stays theirs.
    """
    err.print(f"{text} ...", markup=False)


class StepProgress:
    """The progress of one step: call it with (done, total, info); `info` becomes the text behind the bar.

    `items` is how many were done, for the report.
    """

    def __init__(self, title: str, progress: Progress | None) -> None:
        self.title = title
        self.items = 0
        self._progress = progress
        self._task = progress.add_task(title, total=None, info="") if progress else None
        self._last_line = time.monotonic()

    def __call__(self, done: int, total: int | None, info: dict | None = None) -> None:
        self.items = done
        text = "  ".join(f"{k} {_short(v)}" for k, v in (info or {}).items() if not callable(v))
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total, info=text)
        elif time.monotonic() - self._last_line > 15:
            # A log gets a line now and then, so that a long step is never silent.
            self._last_line = time.monotonic()
            tell("progress", step=self.title, done=done, total=total, info=text)
            out.print(f"  {self.title}: {done}/{total if total is not None else '?'} {text}", markup=False)


@contextmanager
def step(title: str) -> Iterator[StepProgress]:
    """Show a bar while the body works (on a terminal) or a line now and then (in a log)."""
    if not sys.stdout.isatty():
        out.print(f"{title} ...", markup=False)
        yield StepProgress(title, None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}", markup=False),
    )
    with Progress(*columns, console=out) as progress:
        yield StepProgress(title, progress)


def cell(value: object) -> Text:
    """What a stranger wrote, as a cell of a table: never markup, on one line, printable, and not too long."""
    text = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
    text = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    return Text("".join(sign if sign.isprintable() else " " if sign.isspace() else "�" for sign in text))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[Any]], last: str) -> None:
    """A table of what strangers wrote, and a line under it."""
    table = Table(box=None, header_style="bold")
    for name in heads:
        table.add_column(name, overflow="fold", no_wrap=name == "clip_id")
    for row in rows:
        table.add_row(*map(cell, row))
    if rows:
        out.print(table)
    out.print(last, markup=False)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
