"""The clips that a view asks for, counted and in order; kept until the catalogue changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UnknownClip
from catalog.names import CategoryNames
from catalog.search import clip_filter, search_text
from catalog.store import Catalog
from jobs.web.chart import Charts, NoChart
from jobs.web.kept import Kept
from jobs.web.view import FACETS, NONE, PAGE, View
from pipeline.errors import BadSource
from pipeline.find import Aspect, LazyEmbedder, StoredAdapters, find_hits

# What a card shows and what clips are counted and sorted by.
_COLUMNS = (
    *("clip_id", "category_id", "caption", "status", "split", "licence", "source", "category_source"),
    *("generator", "category_confidence", "motion", "created_at", "source_uri"),
)

# Clips that a search by words finds by what they show.
MOST_SHOWN = 200


class Count(NamedTuple):
    """How many clips of a view hold a value of a facet, its own choice left aside."""

    value: str
    label: str
    clips: int
    chosen: bool


@dataclass(frozen=True)
class Found:
    """What a view asks for.

    Attributes:
        rows: the clips that match, in order; `_COLUMNS` and, where something was compared, `score` and `why`.
        facets: of every facet its values, the commonest first.
    """

    rows: pa.Table
    facets: dict[str, list[Count]]
    names: CategoryNames

    @property
    def pages(self) -> int:
        """How many pages show them; at least one."""
        return max(1, -(-self.rows.num_rows // PAGE))

    def page(self, number: int) -> list[dict[str, Any]]:
        """The clips of one page, each with its `category`."""
        rows = self.rows.slice((number - 1) * PAGE, PAGE).to_pylist()
        return [row | {"category": self.names.name_of(row["category_id"])} for row in rows]

    def ids(self) -> list[str]:
        """The clips that match, in order."""
        return self.rows["clip_id"].to_pylist()


@dataclass(frozen=True)
class _Base:
    """What words, example and filter leave, before facets: rows, and by facet the value of each."""

    rows: pa.Table
    values: dict[str, _Coded]
    names: CategoryNames


class Shelf:
    """Clips by view. The rows of a few views are in memory, each as of one version of the catalogue."""

    def __init__(
        self,
        catalog: Catalog,
        model: LazyEmbedder,
        charts: Charts,
        uploaded: Callable[[str], Sequence[float] | None],
    ) -> None:
        """Args:
        uploaded: the vector of an uploaded example; None for the id of a clip.
        """
        self.catalog = catalog
        self.uploaded = uploaded
        self.model = model
        self.charts = charts
        self._bases: Kept[_Base] = Kept(8)
        self._found: Kept[Found] = Kept(32)

    def version(self) -> tuple[int, int]:
        """What changes when clips or categories do."""
        return tuple(self.catalog.tables.version(name) for name in ("clips", "categories"))

    def find(self, view: View) -> Found:
        """The clips that match, whatever its page and selection.

        Raises:
            CatalogError, PipelineError, JobError: a filter or an example that cannot be used, in a sentence.
        """
        examples = (view.like, view.unlike, view.aspect, view.model)
        adapters = self.catalog.tables.version("adapters") if view.model else 0
        asked = (self.version(), adapters, view.words, examples, view.where, view.lasso)
        chosen = tuple(sorted(view.chosen.items()))

        def make() -> Found:
            base = self._bases.get(asked, lambda: self._base(view))
            return Found(_sorted(base, view), _facets(base, view), base.names)

        return self._found.get((asked, chosen, view.sort), make)

    def selected(self, view: View) -> list[str]:
        """The clips of the view's selection, in order."""
        if not view.everything and not view.selected:
            return []
        return [clip for clip in self.find(view).ids() if view.holds(clip)]

    def _base(self, view: View) -> _Base:
        names = CategoryNames.load(self.catalog)
        condition = clip_filter(self.catalog, view.where) if view.where else None
        rows = self.catalog.scan("clips", _COLUMNS, condition)
        if view.lasso:
            rows = rows.filter(pc.is_in(rows["clip_id"], pa.array(self._caught(view.lasso), pa.string())))
        if view.compares:
            hits = self._hits(view)
            place = {clip: number for number, clip in enumerate(rows["clip_id"].to_pylist())}
            hits = [hit for hit in hits if hit["clip_id"] in place]
            rows = rows.take(pa.array([place[hit["clip_id"]] for hit in hits], pa.int64()))
            rows = rows.append_column("score", pa.array([hit["score"] for hit in hits], pa.float64()))
            rows = rows.append_column("why", pa.array([hit["why"] for hit in hits], pa.string()))
        values = {facet: _coded(rows[facet]) for facet in FACETS if facet != "category"}
        values["category"] = _coded(rows["category_id"], names.kept)
        return _Base(rows, values, names)

    def _caught(self, lasso: Sequence[tuple[float, float]]) -> list[str]:
        if (chart := self.charts.newest()) is None:
            raise NoChart(
                self.charts.trouble or "There is no map yet to which the lasso belongs; open the map first."
            )
        return chart.within(np.array(lasso))

    def _hits(self, view: View) -> list[dict[str, Any]]:
        """What is found, best first: all by examples; by words what says them or shows them best."""
        most = max(1, self.catalog.count("clips"))
        if not (view.like or view.unlike) and self.model.knows_words_of(self.catalog):
            condition = clip_filter(self.catalog, view.where) if view.where else None
            # Every clip shows a little of anything: beyond these a likeness to words means nothing.
            most = max(len(search_text(self.catalog, view.words, condition, most)), MOST_SHOWN)
        by = StoredAdapters(self.catalog, view.model) if view.model else None
        read = by.projection if by else self._vector
        if by and any(self.uploaded(each) is not None for each in (*view.like, *view.unlike)):
            raise BadSource(
                "An uploaded example is kept by what it looks like, and has no adapter here; `video2lora"
                " search --like FILE --by adapter` predicts it."
            )
        like, unlike = (list(map(read, names)) for names in (view.like, view.unlike))
        aspect = cast("Aspect", view.aspect or "all")
        words, where = view.words or None, view.where or None
        return find_hits(self.catalog, self.model, words, like, where, most, unlike, aspect, by)

    def _vector(self, clip_id: str) -> Sequence[float]:
        """An upload's or a clip's own vector: an address names clips, and never a file of the server's."""
        if (example := self.uploaded(clip_id)) is not None:
            return example
        columns = ["embedding"] if "embedding" in self.catalog.schema("clips").names else ["clip_id"]
        rows = self.catalog.get("clips", [clip_id], columns).to_pylist()
        if not rows:
            raise UnknownClip(
                f"No clip has the id {clip_id[:80]!r}; upload a video to look for clips like it."
            )
        if (vector := rows[0].get("embedding")) is None:
            raise UnknownClip(f"Clip {clip_id[:80]} has no vector yet; `video2lora embed` makes it.")
        return vector


class _Coded(NamedTuple):
    """A column of words as numbers of its different `values`."""

    codes: np.ndarray
    values: list[str]


def _coded(column: pa.ChunkedArray, meant: Callable[[str], str | None] = str) -> _Coded:
    """Args:
    meant: what a value counts as.
    """
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    said = [NONE if each is None else meant(each) or NONE for each in encoded.dictionary.to_pylist()]
    values = list(dict.fromkeys(said))
    numbers = {value: number for number, value in enumerate(values)}
    places = np.array([numbers[each] for each in said], dtype=np.int64)
    return _Coded(places[encoded.indices.to_numpy()], values)


def _masks(base: _Base, view: View) -> dict[str, np.ndarray]:
    found = {}
    for facet, wanted in view.chosen.items():
        codes, values = base.values[facet]
        found[facet] = np.isin(codes, [n for n, value in enumerate(values) if value in wanted])
    return found


def _all_of(masks: Iterable[np.ndarray], count: int) -> np.ndarray:
    return reduce(and_, masks, np.ones(count, dtype=bool))


def _facets(base: _Base, view: View) -> dict[str, list[Count]]:
    masks = _masks(base, view)
    found = {}
    for facet in FACETS:
        others = _all_of((mask for name, mask in masks.items() if name != facet), base.rows.num_rows)
        wanted = view.chosen.get(facet, ())
        codes, values = base.values[facet]
        numbers = np.bincount(codes[others], minlength=len(values)).tolist()
        there = {value: number for value, number in zip(values, numbers, strict=True) if number}
        counts = dict.fromkeys(wanted, 0) | there
        label = base.names.name_of if facet == "category" else str
        found[facet] = sorted(
            (
                Count(value, label(value) or value, number, value in wanted)
                for value, number in counts.items()
            ),
            key=lambda each: (not each.chosen, -each.clips, each.label),
        )
    return found


def _sorted(base: _Base, view: View) -> pa.Table:
    """The matching rows, ties by clip id; by default the best or else the newest first."""
    rows = base.rows.filter(pa.array(_all_of(_masks(base, view).values(), base.rows.num_rows)))
    compared = "score" in rows.column_names
    match view.sort or ("best" if compared else "newest"):
        case "best":
            return rows if compared else rows.sort_by("clip_id")
        case "unsure":
            return rows.sort_by([("category_confidence", "ascending"), ("clip_id", "ascending")])
        case "category":
            return rows.sort_by([("category_id", "ascending"), ("clip_id", "ascending")])
        case "motion":
            return rows.sort_by([("motion", "descending"), ("clip_id", "ascending")])
    return rows.sort_by([("created_at", "descending"), ("clip_id", "ascending")])
