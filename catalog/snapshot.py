"""A snapshot names one version of every table: what training, evaluation and export read instead of "now"."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from catalog.errors import SnapshotMissing


@dataclass(frozen=True)
class Snapshot:
    """Version of every table, by table name."""

    versions: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """One JSON object, table name to version, in a stable order."""
        return json.dumps(self.versions, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """Read what `to_json` wrote.

        Raises:
            SnapshotMissing: the text is no snapshot.
        """
        try:
            versions = json.loads(text)
            if not isinstance(versions, dict) or not versions:
                raise ValueError("not a JSON object of versions")
            if any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in versions.values()):
                raise ValueError("a version is a whole number of at least 1")
        except (TypeError, ValueError) as error:
            raise SnapshotMissing(
                f"{str(text)[:80]!r} is not a snapshot ({error}); "
                'expected JSON such as {"clips": 12, "media": 3}.'
            ) from error
        return cls(versions)


def tag_of(version: int) -> str:
    """The Lance tag that keeps a version from being cleaned up.

    It is named after the version, so that any number of snapshots share it and taking one twice is harmless.
    """
    return f"snapshot-{version}"
