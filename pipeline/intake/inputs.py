"""Inputs with what identifies them, gathered by content."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.intake.stat import Hashed, Stat
from pipeline.sources.source import Refusal, Source


@dataclass(frozen=True)
class Input:
    """A source, what the file system says of it, and the hash of its bytes, or why there is none."""

    source: Source
    stat: Stat
    sha256: str | None = None
    refusal: Refusal | None = None


def group_by_content(inputs: Sequence[Input], hashes: Iterable[Hashed]) -> list[list[Input]]:
    """Inputs with the same bytes and window together, in order of their address; unreadable ones alone.

    The first of a group stands for it: which one it is depends on the addresses only.
    """
    by_location = {found.location: found for found in hashes}
    groups: dict[tuple, list[Input]] = {}
    for item in sorted(inputs, key=lambda item: item.source.uri):
        found = by_location.get(item.source.location)
        sha256, refusal = (found.sha256, found.refusal) if found else (None, None)
        key = (sha256 or item.source.uri, item.source.window)
        groups.setdefault(key, []).append(replace(item, sha256=sha256, refusal=refusal))
    return list(groups.values())
