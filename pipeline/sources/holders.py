"""Files that hold videos, a tar or a Parquet table of bytes, as the inputs that they hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.sources import cells, tars
from pipeline.sources.source import Skipped, Source


@dataclass
class Held:
    """What such files hold: inputs, what of it is none, and sentences about how it was read."""

    sources: list[Source] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "Held | None") -> None:
        """Take in what another file holds."""
        if other is not None:
            self.sources += other.sources
            self.skipped += other.skipped
            self.notes += [note for note in other.notes if note not in self.notes]


def held_by(
    file: Path, columns: Mapping[str, str] | None, label: str | None, is_video: Callable[[str], bool]
) -> Held | None:
    """The inputs in a file; None where it holds none by its kind, as a table of names does.

    Args:
        columns: for tables, our name of a column to theirs.
        label: the category of what is labelled in no other way.
        is_video: whether a member's suffix is a video's.
    """
    if file.suffix.lower() == ".tar":
        listing, skipped = tars.listing(file, label, is_video)
        return Held(listing.sources, skipped, listing.notes)
    listing = cells.listing(file, columns, label)
    return None if listing is None else Held(listing.sources, [], listing.notes)
