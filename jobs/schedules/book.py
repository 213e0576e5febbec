"""The schedules of a working directory, as its file `schedules.json` has them."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.errors import JobError
from jobs.schedules.when import When
from training.files import write_atomically

FILE = "schedules.json"
PLACES = ("systemd", "cron", "kubernetes", "here")
# Names of Kubernetes' objects: theirs is "video2lora-" before it.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class NoSchedule(JobError):
    """No schedule is called that."""


class BadSchedule(JobError):
    """A schedule that nobody could run."""


@dataclass(frozen=True)
class Schedule:
    """A command that runs by itself.

    Attributes:
        name: of small letters, digits and dashes.
        cron: five fields.
        command: the words after `video2lora`.
        place: who runs it, one of PLACES; `here` is `schedule run`.
        paused: whether it runs not, until it is resumed.
        installed: whether it was handed to that place.
    """

    name: str
    cron: str
    command: tuple[str, ...]
    place: str = "here"
    paused: bool = False
    installed: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadSchedule(
                f"{self.name[:60]!r} is no name of a schedule: small letters, digits and dashes, 40 at most."
            )
        if self.place not in PLACES:
            raise BadSchedule(f"--on {self.place[:40]!r} is none of {', '.join(PLACES)}.")
        When.parse(self.cron)

    def bare(self) -> list[str]:
        """The command without its working directory, which is another one elsewhere."""
        words, kept = iter(self.command), []
        for word in words:
            if word in ("-w", "--workdir"):
                next(words, None)
            elif not word.startswith("--workdir="):
                kept.append(word)
        return kept


class Book:
    """The file; two commands at once lose nothing."""

    def __init__(self, root: Path) -> None:
        self.path = root / FILE

    def all(self) -> list[Schedule]:
        """By name.

        Raises:
            BadSchedule: the file is damaged.
        """
        try:
            rows = json.loads(self.path.read_text("utf-8"))
            found = [Schedule(**{**row, "command": tuple(row["command"])}) for row in rows]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadSchedule(f"{self.path} cannot be read ({error}); mend it, or take it away.") from error
        return sorted(found, key=lambda each: each.name)

    def one(self, name: str) -> Schedule:
        """Raises NoSchedule where there is none of that name."""
        every = {each.name: each for each in self.all()}
        if name not in every:
            known = f"there are: {', '.join(every)}" if every else "`video2lora schedule add` makes one"
            raise NoSchedule(f"No schedule is called {name[:60]!r}; {known}.")
        return every[name]

    def put(self, schedule: Schedule, new: bool = False) -> None:
        """Write one; a new one may not replace another."""
        with self._held():
            every = {each.name: each for each in self.all()}
            if new and schedule.name in every:
                raise BadSchedule(
                    f"A schedule is called {schedule.name!r} already; `video2lora schedule remove` it first."
                )
            self._write([*({**every, schedule.name: schedule}).values()])

    def remove(self, name: str) -> None:
        """Take one out."""
        with self._held():
            self._write([each for each in self.all() if each.name != name])

    def _write(self, schedules: list[Schedule]) -> None:
        write_atomically(self.path, json.dumps([asdict(each) for each in schedules], indent=1) + "\n")

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self.path.with_name(f".{FILE}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
