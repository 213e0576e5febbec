"""Stopping an edit that another process makes: a file beside its output asks for it."""

from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from training.files import write_atomically
from training.progress import Progress


class EditStopped(PipelineError):
    """Somebody stopped an edit; its state is kept."""


def stop_edit(output: Path) -> None:
    """Ask whoever makes that video to stop after the step that it is at; its state is kept."""
    write_atomically(_stop_file(output), "")


def stoppable(progress: Progress | None, output: Path) -> Progress:
    """A progress that ends its work when `stop_edit` asks for it from now on, by EditStopped."""
    _stop_file(output).unlink(missing_ok=True)

    def told(done: int, total: int | None, facts: dict[str, Any]) -> None:
        if progress is not None:
            progress(done, total, facts)
        if _stop_file(output).exists():
            _stop_file(output).unlink(missing_ok=True)
            raise EditStopped(f"{output} was stopped; its state is kept, and the same command goes on.")

    return told


def _stop_file(output: Path) -> Path:
    return output.with_name(f".{output.name[:100]}.stop")
