"""Columns of words of the clips as numbers in memory, kept by fragment: a commit changes few of these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.search.clips import Clips

if TYPE_CHECKING:
    from lance import LanceDataset, LanceFragment
    from lancedb.expr import Expr

Codes = npt.NDArray[np.int32]
# Where Lance says in which fragment a row lies, and at which place of it.
_ADDRESS, _PLACE_BITS = "_rowaddr", 32
# Columns that are kept, four bytes a clip each.
_KEPT = 24
_COLUMNS: dict[tuple[str, bool, str], _Column] = {}
_LOCK = Lock()


class _Column:
    """One column: its different values, and for every fragment the number of the value at each place."""

    def __init__(self) -> None:
        self.values: dict[str | None, int] = {}
        self.parts: dict[str, Codes] = {}

    def code(self, words: pa.ChunkedArray, places: npt.NDArray[np.int64], size: int) -> Codes:
        """Words at places of a fragment of that size as numbers; -1 where a row was deleted."""
        encoded = pc.dictionary_encode(words.combine_chunks(), null_encoding="encode")
        said = encoded.dictionary.to_pylist()
        numbers = np.array([self.values.setdefault(each, len(self.values)) for each in said], dtype=np.int32)
        codes = np.full(size, -1, dtype=np.int32)
        if len(said):
            codes[places] = numbers[encoded.indices.to_numpy()]
        return codes


def counts(
    clips: Clips, columns: Sequence[str], where: Expr | None = None
) -> dict[str, dict[str | None, int]]:
    """How many clips hold each value, by column; what has not changed since the last time is not read.

    Args:
        columns: of words.
        where: only these clips.
    """
    dataset = clips.handle.to_lance()
    fragments = {_identity(each): each for each in dataset.get_fragments()}
    # Whoever comes meanwhile would read the same.
    with _LOCK:
        known = {name: _column(clips, name) for name in columns}
        for identity, fragment in fragments.items():
            _read(fragment, identity, known)
        for column in known.values():
            for gone in column.parts.keys() - fragments.keys():
                del column.parts[gone]
        held = {
            name: (list(column.values), {f.fragment_id: column.parts[key] for key, f in fragments.items()})
            for name, column in known.items()
        }
    inside = None if where is None else _places(dataset, where)
    return {name: _counted(values, parts, inside) for name, (values, parts) in held.items()}


def _column(clips: Clips, name: str) -> _Column:
    key = (clips.catalog.uri, clips.catalog.pinned is not None, name)
    found = _COLUMNS.pop(key, None) or _Column()
    _COLUMNS[key] = found  # the last one used comes last
    for oldest in list(_COLUMNS)[: max(0, len(_COLUMNS) - _KEPT)]:
        del _COLUMNS[oldest]
    return found


def _identity(fragment: LanceFragment) -> str:
    """What changes when rows of a fragment are written or deleted: its files."""
    facts = fragment.metadata
    files = [(each.path, each.fields) for each in facts.files]
    gone = facts.deletion_file
    return json.dumps([facts.id, files, gone and [gone.id, gone.read_version, gone.num_deleted_rows]])


def _read(fragment: LanceFragment, identity: str, known: dict[str, _Column]) -> None:
    missing = [name for name, column in known.items() if identity not in column.parts]
    if not missing:
        return
    rows = fragment.scanner(columns=missing, with_row_address=True).to_table()
    places = rows[_ADDRESS].to_numpy().view(np.int64) & (2**_PLACE_BITS - 1)
    for name in missing:
        known[name].parts[identity] = known[name].code(rows[name], places, fragment.physical_rows)


def _places(dataset: LanceDataset, where: Expr) -> dict[int, npt.NDArray[np.int64]]:
    """The places of the rows that match, by fragment."""
    rows = dataset.scanner(columns=[], filter=where.to_sql(), with_row_address=True).to_table()
    addresses = np.sort(rows[_ADDRESS].to_numpy().view(np.int64))
    fragments, starts = np.unique(addresses >> _PLACE_BITS, return_index=True)
    parts = np.split(addresses & (2**_PLACE_BITS - 1), starts[1:])
    return dict(zip(fragments.tolist(), parts, strict=True)) if len(addresses) else {}


def _counted(
    values: Sequence[str | None], parts: dict[int, Codes], inside: dict[int, npt.NDArray[np.int64]] | None
) -> dict[str | None, int]:
    total = np.zeros(len(values) + 1, dtype=np.int64)
    for fragment, codes in parts.items():
        if inside is None:
            chosen = codes
        elif (places := inside.get(fragment)) is not None:
            chosen = codes[places]
        else:
            continue
        # A deleted row's -1 is counted at the front, and left out.
        total += np.bincount(chosen + 1, minlength=len(total))
    return {value: number for value, number in zip(values, total[1:].tolist(), strict=True) if number}
