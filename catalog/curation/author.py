"""Who decides, what of the catalogue he had seen, and whether he means it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog import acts
from catalog.acts import Applied
from catalog.changes import Change
from catalog.store import Catalog


@dataclass(frozen=True)
class Author:
    """Signs acts.

    Attributes:
        name: stands in the history.
        as_of: the last event (`events.last_event`) of what he looks at; what an act has changed of the
            same rows since is refused, his own from another page too. None: he has looked just now.
        dry_run: find out what an act would change, and change nothing.
    """

    name: str
    as_of: str | None = None
    dry_run: bool = False

    def apply(
        self, catalog: Catalog, act: str, changes: Sequence[Change], payload: Mapping[str, Any]
    ) -> Applied:
        """Carry out an act in his name; see `acts.apply`, also for what it raises."""
        return acts.apply(
            catalog, act, changes, actor=self.name, payload=payload, as_of=self.as_of, dry_run=self.dry_run
        )
