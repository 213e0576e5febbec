"""What all pages share: the catalogue, who may come in, and what is kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

import pyarrow.compute as pc
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

from catalog.curation.health import CategoryHealth, health
from catalog.curation.queue import ReviewQueue, review_queue
from catalog.curation.standing import Standing, standing
from catalog.errors import CatalogError
from catalog.events import last_event
from catalog.log import Log
from catalog.store import Catalog
from jobs.errors import JobError
from jobs.web.access import Access
from jobs.web.chart import Charts
from jobs.web.kept import Kept
from jobs.web.palette import Palette
from jobs.web.shelf import Shelf
from pipeline.find import LazyEmbedder
from pipeline.serving.desk import Desk
from training.files import write_atomically

# Pictures are made from a whole decoded clip, 50 MB each.
_DECODERS = 2

UPLOADED = "example:"


class NothingGenerated(JobError):
    """A request for a clip to a server that was told to generate nothing."""


class ExampleForgotten(JobError):
    """An uploaded example that is not kept any more."""


class Uploaded(NamedTuple):
    """An uploaded example: its file's name, as whoever uploaded it calls it, and its vector."""

    name: str
    vector: Sequence[float]


@dataclass
class Site:
    """One catalogue, served.

    Attributes:
        workdir: as the command line names it, in the lines that pages print.
        model: sees words and uploaded examples.
        folder: where pictures made of clips are kept from start to start.
        desk: takes requests for clips in; None where the server was told to generate nothing.
    """

    catalog: Catalog
    workdir: str
    folder: Path
    access: Access
    model: LazyEmbedder
    desk: Desk | None = None
    charts: Charts = field(init=False)
    shelf: Shelf = field(init=False)
    log: Log = field(init=False)
    examples: Kept[Uploaded] = field(default_factory=lambda: Kept(64))
    videos: Kept[bytes] = field(default_factory=lambda: Kept(32))
    posters: Kept[bytes | None] = field(default_factory=lambda: Kept(1024))
    strips: Kept[bytes | None] = field(default_factory=lambda: Kept(1024))
    decoders: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_DECODERS))
    _health: Kept[list[CategoryHealth]] = field(default_factory=lambda: Kept(1))
    _palettes: Kept[Palette] = field(default_factory=lambda: Kept(1))
    _queues: Kept[ReviewQueue] = field(default_factory=lambda: Kept(16))
    _standing: Kept[Standing] = field(default_factory=lambda: Kept(1))
    _compared: Kept[list[str]] = field(default_factory=lambda: Kept(1))
    _last_events: Kept[str] = field(default_factory=lambda: Kept(1))

    def __post_init__(self) -> None:
        self.charts = Charts(self.catalog, self.folder)
        self.log = Log(self.catalog)
        self.shelf = Shelf(self.catalog, self.model, self.charts, self.example)

    def video(self, clip_id: str) -> bytes | None:
        """The stored video of a clip; None where there is none."""
        return self.videos.get(clip_id, lambda: self.catalog.videos([clip_id]).get(clip_id))

    def poster(self, clip_id: str) -> bytes | None:
        """The stored poster of a clip; None where there is none."""
        return self.posters.get(clip_id, lambda: self.catalog.posters([clip_id]).get(clip_id) or None)

    def prepare(self, clip_ids: Iterable[str]) -> None:
        """Read the stored pictures of a page's clips at once: one by one takes ten times as long."""
        wanted = list(clip_ids)
        for kept, read in ((self.posters, self.catalog.posters), (self.strips, self.catalog.strips)):
            missing = [clip for clip in wanted if clip not in kept]
            found = read(missing) if missing else {}
            for clip in missing:
                kept.get(clip, lambda clip=clip, found=found: found.get(clip) or None)

    async def picture(self, clip_id: str, kind: str) -> bytes | None:
        """`strip` or `sheet` of a clip; None where no video can be read.

        A strip that ingestion has stored is that; what is not stored is made when it is first asked for.

        Whoever waits for a decoder holds none of the threads that answer pages.
        """
        if (drawn := await to_thread.run_sync(self._drawn, clip_id, kind)) is None:
            drawn = await to_thread.run_sync(self._draw, clip_id, kind, limiter=self.decoders)
        return drawn

    def _drawn(self, clip_id: str, kind: str) -> bytes | None:
        if kind == "strip":
            stored = self.strips.get(clip_id, lambda: self.catalog.strips([clip_id]).get(clip_id) or None)
            if stored is not None:
                return stored
        file = self._file(clip_id, kind)
        return file.read_bytes() if file.exists() else None

    def _draw(self, clip_id: str, kind: str) -> bytes | None:
        if (drawn := self._drawn(clip_id, kind)) is not None:  # by somebody else meanwhile
            return drawn
        from pipeline.stored import read_stored
        from pipeline.video.strip import effect_strip, scrub_sheet

        frames = next(frames for _, frames, _ in read_stored(self.catalog, [clip_id]))
        if frames is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, draw in (("strip", effect_strip), ("sheet", scrub_sheet)):
            write_atomically(self._file(clip_id, name), draw(frames))
        return self._drawn(clip_id, kind)

    def _file(self, clip_id: str, kind: str) -> Path:
        """Named by a digest: what a request says never becomes a path."""
        name = hashlib.sha256(f"{kind} {clip_id}".encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / f"{name}.jpg"

    def example(self, like: str) -> Sequence[float] | None:
        """The vector of an uploaded example; None where `like` names a clip or nothing.

        Raises:
            ExampleForgotten: it was uploaded before the server was started, or long ago.
        """
        return self._uploaded(like).vector if like.startswith(UPLOADED) else None

    def files(self, names: Iterable[str]) -> dict[str, str]:
        """What the files of those examples are called that were uploaded."""
        return {each: self._uploaded(each).name for each in names if each.startswith(UPLOADED)}

    def _uploaded(self, like: str) -> Uploaded:
        def forgotten() -> Uploaded:
            raise ExampleForgotten("That example is not kept any more; upload it again.")

        return self.examples.get(like, forgotten)

    def health(self) -> list[CategoryHealth]:
        """The figures of every category, as of now."""

        version = self.shelf.version()

        def make() -> list[CategoryHealth]:
            try:
                found = self.standing(version)
            except CatalogError:  # nothing is embedded yet: there are other figures
                found = None
            return health(self.catalog, found=found)

        return self._health.get(version, make)

    def health_of(self, category: str) -> CategoryHealth | None:
        """The figures of one category, as of now; None where there is none."""
        version = self.shelf.version()
        if version in self._health:
            return next((each for each in self.health() if each.category_id == category), None)
        try:
            found = self.standing(version)
        except CatalogError:
            found = None
        return next(iter(health(self.catalog, found=found, only=category)), None)

    def standing(self, version: tuple[int, int] | None = None) -> Standing:
        """How all clips stand in their categories, as of now.

        Args:
            version: the shelf's, where it is known already.

        Raises:
            CatalogError: nothing is embedded yet.
        """
        return self._standing.get(version or self.shelf.version(), lambda: standing(self.catalog))

    def models_compared(self) -> list[str]:
        """The models by whose adapters clips can be compared."""
        version = self.catalog.tables.version("adapters")

        def make() -> list[str]:
            return sorted(pc.unique(self.catalog.scan("adapters", ["model_id"])["model_id"]).to_pylist())

        return self._compared.get(version, make)

    def palette(self) -> Palette:
        """The names of all categories, as of now."""
        return self._palettes.get(self.shelf.version(), lambda: Palette.load(self.catalog))

    def queue(self, category: str | None, reviewed: bool, again: bool = False) -> ReviewQueue:
        """The review queue, computed once: who works it off goes on where he was, whatever he changes.

        Args:
            again: compute it anew.
        """
        asked = (category, reviewed)
        if again:
            self._queues.forget(asked)
        return self._queues.get(
            asked,
            lambda: review_queue(self.catalog, category, None, reviewed=reviewed, found=self.standing()),
        )

    def last_event(self) -> str:
        """Number of the newest act: what whoever looks at a page has seen."""
        version = self.catalog.tables.version("events")
        return self._last_events.get(version, lambda: last_event(self.catalog))


def site_of(request: Request) -> Site:
    """The site that a request came to."""
    return request.app.state.site


Here = Annotated[Site, Depends(site_of)]


def desk_of(request: Request) -> Desk:
    """Where requests for clips are taken in; raises NothingGenerated where they are not."""
    if (desk := site_of(request).desk) is None:
        raise NothingGenerated(
            "This server generates nothing; `video2lora serve` without --no-generate does."
        )
    return desk


def owner_of(request: Request) -> str:
    """Whose requests and files those are that this one asks for."""
    return request.state.owner or "nobody"


AtDesk = Annotated[Desk, Depends(desk_of)]
Owner = Annotated[str, Depends(owner_of)]
