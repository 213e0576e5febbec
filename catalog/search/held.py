"""Columns of the clips in memory, kept by fragment and place: a commit changes few of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.search.clips import Clips
from catalog.vectors import Floats, unit

if TYPE_CHECKING:
    from lance import LanceDataset, LanceFragment
    from lancedb.expr import Expr

Codes = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Some = Places | slice
# Where Lance says in which fragment a row lies, and at which place of it.
_ADDRESS, _PLACE_BITS = "_rowaddr", 32
# Columns that are kept; words take four bytes a clip. Of more vectors than these none are: those of a million
# clips take two gigabytes.
_KEPT, _MOST_VECTORS = 24, 100_000
_ONE = pa.list_(pa.uint64(), 1)
# What a place holds that was not read: there was no row when it was. The number of no value.
_UNREAD = NO_VALUE = -1


@dataclass(frozen=True)
class _Part:
    """A column in one fragment: the number of the value at each place, [size], vectors, [values, d], and
    whether there was a row at each place."""

    codes: Codes
    whole: bool
    vectors: Floats | None = None


class _Column:
    """A column: its different values, where they are words, and what each fragment holds."""

    def __init__(self) -> None:
        self.values: dict[object, int] = {}
        self.parts: dict[str, _Part] = {}

    def part(self, read: pa.ChunkedArray, places: Places, size: int) -> _Part:
        codes, whole = np.full(size, _UNREAD, dtype=np.int32), len(places) == size
        if pa.types.is_fixed_size_list(read.type):
            flat = np.asarray(pc.list_flatten(read.fill_null(_nothing(read.type))), dtype=np.float32)
            codes[places] = np.arange(len(places), dtype=np.int32)
            return _Part(codes, whole, unit(flat.reshape(len(places), -1)))
        encoded = pc.dictionary_encode(_words(read).combine_chunks(), null_encoding="encode")
        said = encoded.dictionary.to_pylist()
        numbers = np.array([self.values.setdefault(each, len(self.values)) for each in said], dtype=np.int32)
        if len(said):
            codes[places] = numbers[encoded.indices.to_numpy()]
        return _Part(codes, whole)


# By catalogue and name; the last one used comes last.
_COLUMNS: dict[tuple[str, bool, str], _Column] = {}
# By what a fragment is, with what was deleted of it, the places of the rows that are left.
_LEFT: dict[str, Places] = {}
_LOCK = Lock()


@dataclass(frozen=True)
class Held:
    """Clips at one version, or those of them that match, by fragment and place.

    Attributes:
        places: of the rows, ascending, or all, by fragment; fragments in order.
    """

    clips: Clips
    places: dict[int, Some]

    @classmethod
    def of(cls, clips: Clips, where: Expr | None = None) -> Held:
        """The clips, or those that match."""
        if where is not None:
            return cls(clips, _matching(clips, where))
        with _LOCK:
            left = {each.fragment_id: _left(each) for each in _fragments(clips.dataset)}
            for oldest in list(_LEFT)[: max(0, len(_LEFT) - 4 * len(left) - _KEPT)]:
                del _LEFT[oldest]
        return cls(clips, left)

    def parts(self, names: Sequence[str]) -> dict[str, tuple[list[Codes], list]]:
        """By column of words the number of every row's value, an array for each fragment, and the values; of
        lists of numbers the first one counts."""
        found = {}
        for name, (column, parts) in self._read(names).items():
            codes = [parts[number].codes[places] for number, places in self.places.items()]
            found[name] = (codes, list(column.values))
        return found

    def words(self, names: Sequence[str]) -> dict[str, tuple[Codes, list]]:
        """`parts` in one array, [n]."""
        none = np.zeros(0, np.int32)
        return {
            name: (np.concatenate([none, *each]), said) for name, (each, said) in self.parts(names).items()
        }

    def vectors(self, name: str) -> Floats:
        """A column of vectors, of length one, [n, d]; NaN where there is none, zero where it is."""
        parts = self._read([name])[name][1]
        width = self.clips.schema.field(name).type.list_size
        found = [np.zeros((0, width), np.float32)]
        for number, places in self.places.items():
            part = parts[number]
            assert part.vectors is not None
            found.append(part.vectors[part.codes[places]])
        return np.concatenate(found)

    def _read(self, names: Sequence[str]) -> dict[str, tuple[_Column, dict[int, _Part]]]:
        """Columns and their parts by fragment; what is in memory is not read again."""
        fragments = {_files(each): each for each in _fragments(self.clips.dataset)}
        # Whoever comes meanwhile would read the same.
        with _LOCK:
            known = {name: self._column(name) for name in names}
            missing: dict[str, list[str]] = {}
            for files, fragment in fragments.items():
                wanted = self.places.get(fragment.fragment_id)
                for name, column in known.items():
                    if _lacks(column.parts.get(files), wanted):
                        missing.setdefault(files, []).append(name)
            if missing:
                names = sorted({name for each in missing.values() for name in each})
                _fetch(self.clips, {each: fragments[each] for each in missing}, {n: known[n] for n in names})
            for column in known.values():
                for gone in column.parts.keys() - fragments.keys():
                    del column.parts[gone]
            return {
                name: (column, {f.fragment_id: column.parts[files] for files, f in fragments.items()})
                for name, column in known.items()
            }

    def _column(self, name: str) -> _Column:
        clips = self.clips
        if pa.types.is_fixed_size_list(clips.schema.field(name).type) and clips.rows > _MOST_VECTORS:
            return _Column()
        key = (clips.catalog.uri, clips.catalog.pinned is not None, name)
        found = _COLUMNS.pop(key) if key in _COLUMNS else _Column()
        _COLUMNS[key] = found
        for oldest in list(_COLUMNS)[: max(0, len(_COLUMNS) - _KEPT)]:
            del _COLUMNS[oldest]
        return found


def _words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_list(column.type):
        return column
    first = pc.list_slice(column, 0, 1, return_fixed_size_list=True).fill_null(pa.scalar([None], _ONE))
    return pc.list_flatten(first)


def _nothing(kind: pa.DataType) -> pa.Scalar:
    return pa.scalar([float("nan")] * kind.list_size, kind)


def _fragments(dataset: LanceDataset) -> list[LanceFragment]:
    return sorted(dataset.get_fragments(), key=lambda each: each.fragment_id)


def _files(fragment: LanceFragment) -> str:
    """What changes when columns or rows of a fragment are written."""
    facts = fragment.metadata
    return json.dumps([facts.id, [(each.path, each.fields) for each in facts.files]])


def _left(fragment: LanceFragment) -> Some:
    """The places of the rows that were not deleted."""
    gone = fragment.metadata.deletion_file
    if gone is None:
        return slice(None)
    key = json.dumps([_files(fragment), gone.id, gone.read_version, gone.num_deleted_rows])
    found = _LEFT.pop(key, None)
    if found is None:
        rows = fragment.scanner(columns=[], with_row_address=True).to_table()
        found = np.sort(_place(rows))
    _LEFT[key] = found
    return found


def _lacks(part: _Part | None, wanted: Some | None) -> bool:
    """Whether it has to be read, the first time or because a deleted row is there again."""
    if part is None:
        return True
    return not part.whole and wanted is not None and bool((part.codes[wanted] == _UNREAD).any())


def _fetch(clips: Clips, fragments: dict[str, LanceFragment], columns: dict[str, _Column]) -> None:
    """Read columns of fragments, all at once: hundreds of small ones are what a day of single acts leaves."""
    scanner = clips.dataset.scanner(
        columns=list(columns), fragments=list(fragments.values()), with_row_address=True, scan_in_order=True
    )
    rows = scanner.to_table()
    numbers = rows[_ADDRESS].to_numpy().view(np.int64) >> _PLACE_BITS
    for files, fragment in fragments.items():
        start, end = np.searchsorted(numbers, [fragment.fragment_id, fragment.fragment_id + 1])
        there = rows.slice(start, end - start)
        for name, column in columns.items():
            column.parts[files] = column.part(there[name], _place(there), fragment.physical_rows)


def _place(rows: pa.Table) -> Places:
    return rows[_ADDRESS].to_numpy().view(np.int64) & (2**_PLACE_BITS - 1)


def _matching(clips: Clips, where: Expr) -> dict[int, Some]:
    """The places of the rows that match, by fragment."""
    rows = clips.dataset.scanner(columns=[], filter=clips.sql(where), with_row_address=True).to_table()
    addresses = np.sort(rows[_ADDRESS].to_numpy().view(np.int64))
    numbers = [each.fragment_id for each in _fragments(clips.dataset)]
    starts = np.searchsorted(addresses, np.array(numbers, dtype=np.int64) << _PLACE_BITS)
    places, ends = addresses & (2**_PLACE_BITS - 1), [*starts[1:], len(addresses)]
    found = zip(numbers, starts, ends[: len(numbers)], strict=True)
    return {number: places[start:end] for number, start, end in found if end > start}
