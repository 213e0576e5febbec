"""One input of ingestion, before anything is known of its content."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A video somewhere, and what its data set says of it; None where it says nothing.

    Attributes:
        uri: absolute path of the file; the key of `sources`.
        label: the category, as the data set spells it.
        caption: what the scene shows.
        source: data set or provider.
        licence, licence_evidence: terms, and where they are stated.
        generator: the model that made the video.
        window: the part of the video that counts, as `seconds:1.5-4` or `frames:10-58`; None for all of it.
        references: videos that the data set pairs this one with as effect references: (uri, score 0-100).
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
