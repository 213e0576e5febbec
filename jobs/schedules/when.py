"""A time of cron's five fields, as systemd and APScheduler say it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.errors import JobError

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Name, first and last value, words for values.
_FIELDS = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(DAYS)}),
)


class BadTime(JobError):
    """A time that is none of cron's, or that not every scheduler would read alike."""


@dataclass(frozen=True)
class When:
    """The values of each field, in order; None stands for all."""

    text: str
    minutes: tuple[int, ...] | None
    hours: tuple[int, ...] | None
    days: tuple[int, ...] | None
    months: tuple[int, ...] | None
    weekdays: tuple[int, ...] | None

    @classmethod
    def parse(cls, text: str) -> When:
        """Read `minute hour day month weekday`: `*`, numbers, names, lists, ranges, steps.

        Raises:
            BadTime: see the class.
        """
        words = text.split()
        if len(words) != len(_FIELDS):
            raise BadTime(
                f"{text[:80]!r} is no time of cron's five fields (minute hour day month weekday); every hour"
                " is '17 * * * *', two in the morning '0 2 * * *'."
            )
        fields = [_values(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
        if fields[2] is not None and fields[4] is not None:
            raise BadTime(
                f"{text!r} names days of the month and of the week: cron runs on either, systemd only on"
                " both. Add two schedules, one for each."
            )
        return cls(" ".join(words), *fields)

    def systemd(self) -> str:
        """As `OnCalendar=` takes it, in UTC."""
        weekdays = ",".join(DAYS[day].capitalize() for day in self.weekdays) + " " if self.weekdays else ""
        date = f"*-{_listed(self.months)}-{_listed(self.days)}"
        return f"{weekdays}{date} {_listed(self.hours)}:{_listed(self.minutes)}:00 UTC"

    def trigger(self) -> CronTrigger:
        """As APScheduler takes it, in UTC."""
        from apscheduler.triggers.cron import CronTrigger

        return CronTrigger(
            minute=_numbers(self.minutes),
            hour=_numbers(self.hours),
            day=_numbers(self.days),
            month=_numbers(self.months),
            # By name: APScheduler's week begins on Monday, cron's on Sunday.
            day_of_week=",".join(DAYS[day] for day in self.weekdays) if self.weekdays else "*",
            timezone="UTC",
        )

    def next(self, now: datetime | None = None) -> datetime | None:
        """The first moment from now on; None where there is none, as on the 31st of February."""
        return self.trigger().get_next_fire_time(None, now or datetime.now(UTC))


def _values(word: str, name: str, first: int, last: int, named: dict[str, int]) -> tuple[int, ...] | None:
    found: set[int] = set()
    for part in word.lower().split(","):
        span, slash, step = part.partition("/")
        low, dash, high = span.partition("-")
        try:
            if span == "*":
                start, stop = first, last
            else:
                start = named[low] if low in named else int(low)
                stop = (named[high] if high in named else int(high)) if dash else (last if slash else start)
            every = int(step) if slash else 1
        except ValueError:
            wanted = f"a number from {first} to {last}, a range, or *"
            raise BadTime(f"{part[:40]!r} is no {name}: {wanted}.") from None
        if not (first <= start <= stop <= last and every >= 1):
            raise BadTime(f"{part[:40]!r} is no {name}: from {first} to {last}, the smaller one first.")
        found.update(range(start, stop + 1, every))
    if name == "day of the week":
        found, last = {day % 7 for day in found}, 6
    return None if len(found) == last - first + 1 else tuple(sorted(found))


def _numbers(values: tuple[int, ...] | None) -> str:
    return "*" if values is None else ",".join(map(str, values))


def _listed(values: tuple[int, ...] | None) -> str:
    return "*" if values is None else ",".join(f"{value:02}" for value in values)
