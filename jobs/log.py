"""`--log json`: what a command says beside its results, as one JSON object a line on the error stream.

Every line has `time`, `level`, `command`, `run` (once a job has one) and `event`; further keys belong to the
event. What a command prints on the output stream, for persons or with `--json`, stays as it is.
"""

import io
import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console

_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning"}


class LogFormat(StrEnum):
    """How the error stream is written."""

    TEXT = "text"
    JSON = "json"


class _Log:
    """Where lines go, None while they are not wanted, and what all of them have in common."""

    def __init__(self) -> None:
        self.stream: TextIO | None = None
        self.common: dict[str, Any] = {"command": None, "run": None}


_log = _Log()


def tell(event: str, level: str = "info", **facts: Any) -> None:
    """Write one line; nothing where lines are not wanted."""
    if _log.stream is None:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "level": level, **_log.common, "event": event, **facts}
    _log.stream.write(json.dumps(line, default=str) + "\n")
    _log.stream.flush()


def bind(**common: Any) -> None:
    """Say what all later lines have in common."""
    _log.common |= common


def log_json(console: Console) -> None:
    """From now on this process's error stream has JSON lines only: of `console`, of loggers, of a bug."""
    if _log.stream is not None:
        return
    _log.stream = sys.stderr
    console.file = _Lines()
    logging.root.handlers = [_Handler()]
    sys.excepthook = _tell_bug


def ray_logging() -> dict[str, Any]:
    """What `ray.init` takes so that workers, too, write JSON lines: into the files of Ray's session, where a
    cluster's collector reads them, with Ray's own keys (job, worker, node, task) beside `message`."""
    if _log.stream is None:
        return {}
    from ray import LoggingConfig

    return {"logging_config": LoggingConfig(encoding="JSON", additional_log_standard_attrs=["name"])}


def own_lines() -> None:
    """After `ray.init` has put a handler of its own into this process too: its lines stay as they were."""
    if _log.stream is None:
        return
    ray = logging.getLogger("ray")
    ray.handlers, ray.propagate = [], True
    ray.setLevel(logging.WARNING)
    logging.root.handlers = [_Handler()]
    logging.root.setLevel(logging.WARNING)


class _Lines(io.TextIOBase):
    """What is printed here becomes lines of the log."""

    def __init__(self) -> None:
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            # So a command begins the sentence with which it refuses.
            tell("said", "error" if line.startswith("video2lora: ") else "info", message=line.strip())
        return len(text)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = _LEVELS.get(record.levelno, "error")
        tell("logged", level, message=record.getMessage(), logger=record.name)


def _tell_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    told = "".join(traceback.format_exception(kind, error, trace))
    tell("failed", "error", message=f"{kind.__name__}: {error}", traceback=told)
