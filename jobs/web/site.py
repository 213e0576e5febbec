"""What all pages share: the catalogue, who may come in, and what is kept in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from catalog.store import Catalog
from jobs.web.access import Access
from jobs.web.kept import Kept
from jobs.web.shelf import Shelf
from pipeline.embedding.settings import EmbedSettings
from training.files import write_atomically

if TYPE_CHECKING:
    from pipeline.embedding.embedder import Embedder

# Pictures are made from a whole decoded clip, 50 MB each.
_DECODERS = 2


@dataclass
class Site:
    """One catalogue, served.

    Attributes:
        workdir: as the command line names it, in the lines that pages print.
        folder: where pictures made of clips are kept from start to start.
    """

    catalog: Catalog
    workdir: str
    folder: Path
    access: Access
    embed: EmbedSettings
    shelf: Shelf = field(init=False)
    examples: Kept[list[float]] = field(default_factory=lambda: Kept(64))
    videos: Kept[bytes] = field(default_factory=lambda: Kept(32))
    posters: Kept[bytes | None] = field(default_factory=lambda: Kept(1024))
    decoders: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(_DECODERS))
    _embedder: Embedder | None = None

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.catalog)

    def video(self, clip_id: str) -> bytes | None:
        """The stored video of a clip; None where there is none."""
        return self.videos.get(clip_id, lambda: self.catalog.videos([clip_id]).get(clip_id))

    def poster(self, clip_id: str) -> bytes | None:
        """The stored poster of a clip; None where there is none."""
        return self.posters.get(clip_id, lambda: self.catalog.posters([clip_id]).get(clip_id) or None)

    def picture(self, clip_id: str, kind: str) -> bytes | None:
        """`strip` or `sheet` of a clip, made when it is first asked for; None where no video can be read.

        The file is named by a digest: what a request says never becomes a path.
        """
        name = hashlib.sha256(f"{kind} {clip_id}".encode("utf-8", "surrogatepass")).hexdigest()
        if (file := self.folder / f"{name}.jpg").exists():
            return file.read_bytes()
        with self.decoders:
            if not file.exists():  # else somebody else made it meanwhile
                self._draw(clip_id)
        return file.read_bytes() if file.exists() else None

    def _draw(self, clip_id: str) -> None:
        from pipeline.stored import read_stored
        from pipeline.video.strip import effect_strip, scrub_sheet

        frames = next(frames for _, frames, _ in read_stored(self.catalog, [clip_id]))
        if frames is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind, draw in (("strip", effect_strip), ("sheet", scrub_sheet)):
            name = hashlib.sha256(f"{kind} {clip_id}".encode("utf-8", "surrogatepass")).hexdigest()
            write_atomically(self.folder / f"{name}.jpg", draw(frames))

    def embedder(self) -> Embedder:
        """The model that sees examples, loaded when the first one comes."""
        if self._embedder is None:
            from pipeline.embedding.embedder import Embedder

            self._embedder = Embedder(self.embed)
        return self._embedder


def site_of(request: Request) -> Site:
    """The site that a request came to."""
    return request.app.state.site


Here = Annotated[Site, Depends(site_of)]
