"""The `video2lora` command: every step by itself, and `run`, which does them all."""

import atexit
import os
import sys
import warnings
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from catalog.errors import CatalogError
from jobs import troubles
from jobs.commands import (
    adapter,
    batch,
    category,
    clip,
    curate,
    doctor,
    duplicates,
    edit,
    evaluate,
    export,
    generate,
    history,
    job,
    maintain,
    models,
    retrain,
    review,
    run,
    samples,
    schedule,
    search,
    serve,
    settings,
    snapshot,
    sources,
    train,
)
from jobs.console import err
from jobs.errors import JobError
from jobs.interrupts import leave_once
from jobs.log import LogFormat, bind, log_json
from jobs.options import keep_opened
from jobs.sending import sending_of
from jobs.submit import submit
from jobs.usage import refuse_empty_words, sentence
from pipeline.errors import PipelineError
from training.errors import TrainingError

REFUSED = 2
INTERRUPTED = 130
LOG = "VIDEO2LORA_LOG"

app = typer.Typer(
    name="video2lora",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Curate visual-effect videos, train a hypernetwork on them, turn any reference video into a LoRA."
    "\n\nStart with `video2lora sample demo/videos` and `video2lora run demo/videos --workdir demo`.",
    epilog="Exit status: 0, it did what was asked; 2, it cannot be done as asked, and one sentence says why; "
    "130, it was interrupted, and the same command goes on; 1, a fault of ours, with a traceback.",
)
for module in (
    samples,
    run,
    curate,
    sources,
    review,
    train,
    generate,
    edit,
    batch,
    evaluate,
    search,
    serve,
    settings,
    history,
    export,
    maintain,
    models,
    retrain,
    doctor,
):
    app.add_typer(module.app)
for module in (clip, category, adapter, duplicates, snapshot, models, schedule, job):
    app.add_typer(module.group)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"video2lora {version('video2lora')}")
        raise typer.Exit


@app.callback()
def everywhere(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
    log: Annotated[
        LogFormat,
        typer.Option(envvar=LOG, help="json: one JSON object a line on the error stream, with the run's id."),
    ] = LogFormat.TEXT,
) -> None:
    bind(command=context.invoked_subcommand)
    if log is LogFormat.JSON:
        log_json(err)


def main(words: list[str] | None = None) -> None:
    """Run the command line, of `words` or of what was typed, and exit with a status as the help states it."""
    status = _status_of(sys.argv[1:] if words is None else words)
    if words is None:
        _leave(status)
    sys.exit(status)


def _status_of(words: list[str]) -> int:
    # Lance warns about every child process, though ours are executed anew and never use the parent's handles.
    warnings.filterwarnings("ignore", message=".*(fork-safe|fork support)")
    leave_once()
    if os.environ.get(LOG) == LogFormat.JSON:
        log_json(err)  # before the words are looked at: a mistake in them is a line too
    try:
        refuse_empty_words(words)
        if hint := troubles.prepare(os.environ):
            err.print(hint, markup=False)
        if (sending := sending_of(words)) is not None:
            return submit(app, sending)
        try:
            status = app(words, prog_name="video2lora", standalone_mode=False) or 0
        finally:
            keep_opened()
    except (CatalogError, PipelineError, TrainingError, JobError) as error:
        err.print(f"video2lora: {error}", markup=False)
        return REFUSED
    except typer.TyperException as error:
        err.print(f"video2lora: {sentence(error, words)}", markup=False)
        return REFUSED
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        if (trouble := troubles.sentence(error)) is None:
            raise
        err.print(f"video2lora: {trouble}", markup=False)
        return REFUSED
    # Typer turns Ctrl-C into this status by itself.
    if status == INTERRUPTED:
        err.print("Stopped. What is stored stays, and the same command goes on from there.")
    return status


def _leave(status: int) -> NoReturn:
    """End this process now that all is done: what is registered for the end is run, nothing is taken apart.

    Python frees torch, Ray and Lance module by module, which takes seconds that nobody needs.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a pipe whose reader has gone
            stream.flush()
    os._exit(status)


if __name__ == "__main__":  # how a job of a cluster begins
    main()
