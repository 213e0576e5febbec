"""What a look at something found: fine, worth knowing, or in the way of work; and what to do about it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a finding stands."""

    OK = "ok"
    WARNING = "warning"  # work goes on, not as well as it could
    PROBLEM = "problem"  # work would stop there


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: in a word or two.
        said: what was found, in a sentence.
        do: what to do about it; empty where nothing is.
    """

    about: str
    verdict: Verdict
    said: str
    do: str = ""


def refused(about: str, look: Callable[[], str], *kinds: type[Exception]) -> Iterator[Finding]:
    """What `look` says, or the sentence with which it refuses as a problem."""
    try:
        yield Finding(about, Verdict.OK, look())
    except kinds as error:
        yield Finding(about, Verdict.PROBLEM, str(error))
