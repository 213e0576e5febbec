"""Keeping a catalogue fast and small, while others read and write it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from catalog.acts import settle
from catalog.schema import SCHEMAS
from catalog.store import Catalog

if TYPE_CHECKING:
    from lancedb.table import LanceTable

# A search opens the files of each fragment with a hit; one that lost many rows to updates is rewritten whole.
_ROWS_PER_FRAGMENT = 250_000
# A fragment of media is rewritten whole when it is compacted: at half a megabyte a clip this is 500 MB.
_MEDIA_ROWS_PER_FRAGMENT = 1_000


@dataclass(frozen=True)
class Maintained:
    """What maintenance did: files before and after, versions and bytes that are gone."""

    files_before: int
    files_after: int
    versions: int
    bytes: int


def compact(catalog: Catalog, keep: timedelta = timedelta(days=1)) -> Maintained:
    """Merge small files, refresh indices and drop versions older than `keep` that no snapshot names.

    Args:
        keep: longer than the longest job that may still read an old version without a snapshot.
    """
    catalog.tables.refuse_when_pinned()
    settle(catalog)
    done = [compact_table(catalog, name, keep) for name in SCHEMAS]
    return Maintained(
        sum(each.files_before for each in done),
        sum(each.files_after for each in done),
        sum(each.versions for each in done),
        sum(each.bytes for each in done),
    )


def compact_table(catalog: Catalog, name: str, keep: timedelta = timedelta(days=1)) -> Maintained:
    """The same of one table, without a look at acts: for one that is written row by row."""
    rows = _MEDIA_ROWS_PER_FRAGMENT if name == "media" else _ROWS_PER_FRAGMENT

    # One by one: LanceDB's own optimize() stops at a tagged version before it comes to the indices.
    def merge_files(table: LanceTable) -> None:
        table.to_lance().optimize.compact_files(target_rows_per_fragment=rows)

    before = len(catalog.tables.handle(name).to_lance().get_fragments())
    catalog.tables.commit(name, merge_files)
    catalog.tables.commit(name, lambda table: table.to_lance().optimize.optimize_indices())
    dataset = catalog.tables.handle(name).to_lance()
    done = dataset.cleanup_old_versions(older_than=keep, error_if_tagged_old_versions=False)
    return Maintained(before, len(dataset.get_fragments()), done.old_versions, done.bytes_removed)
