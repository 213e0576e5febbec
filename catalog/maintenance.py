"""Keeping a catalogue fast and small."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from catalog.schema import SCHEMAS
from catalog.store import Catalog

if TYPE_CHECKING:
    from lancedb.table import LanceTable

# Unbounded fragments would make every later update rewrite all of the table's rows.
_ROWS_PER_FRAGMENT = 100_000
# A fragment of media is rewritten whole when it is compacted: at half a megabyte a clip this is 500 MB.
_MEDIA_ROWS_PER_FRAGMENT = 1_000


def compact(catalog: Catalog, keep: timedelta = timedelta(days=1)) -> None:
    """Merge small files, refresh indices and drop versions older than `keep` that no snapshot names.

    Args:
        keep: longer than the longest job that may still read an old version without a snapshot.
    """
    catalog.tables.refuse_when_pinned()
    for name in SCHEMAS:
        rows = _MEDIA_ROWS_PER_FRAGMENT if name == "media" else _ROWS_PER_FRAGMENT

        # One by one: LanceDB's own optimize() stops at a tagged version before it comes to the indices.
        def merge_files(table: LanceTable, rows: int = rows) -> None:
            table.to_lance().optimize.compact_files(target_rows_per_fragment=rows)

        catalog.tables.commit(name, merge_files)
        catalog.tables.commit(name, lambda table: table.to_lance().optimize.optimize_indices())
        catalog.tables.handle(name).to_lance().cleanup_old_versions(
            older_than=keep, error_if_tagged_old_versions=False
        )
