"""One input of ingestion, before anything is known of its content."""

from dataclasses import dataclass
from typing import NamedTuple


class Refusal(NamedTuple):
    """Why an entry names nothing that can be opened: a slug to count by, and a sentence."""

    code: str
    reason: str


@dataclass(frozen=True)
class Source:
    """A video somewhere, and what its data set says of it; None where it says nothing.

    Attributes:
        uri: the key of `sources`: the address of the file, with `#` and the window behind it where a data set
            names several windows of one file; or of the entry of a manifest that names none.
        label: the category, as the data set spells it.
        caption: what the scene shows.
        source: data set or provider.
        licence, licence_evidence: terms, and where they are stated.
        generator: the model that made the video.
        window: the part of the video that counts, as `seconds:1.5-4` or `frames:10-58`; None for all of it.
        references: videos that the data set pairs this one with as effect references: (uri, score 0-100).
        refusal: why there is nothing to open; such an input is a row with this reason and no more.
    """

    uri: str
    label: str | None = None
    caption: str | None = None
    source: str | None = None
    licence: str | None = None
    licence_evidence: str | None = None
    generator: str | None = None
    window: str | None = None
    references: tuple[tuple[str, float | None], ...] = ()
    refusal: Refusal | None = None

    @property
    def location(self) -> str:
        """The address of the file."""
        return self.uri.removesuffix(f"#{self.window}") if self.window else self.uri


class Skipped(NamedTuple):
    """Something that lies at a place and is no input, and why."""

    place: str
    reason: str
