"""What can be wrong with a request to the catalogue. Messages are for the person who typed it."""

from collections.abc import Sequence
from typing import Any


class CatalogError(Exception):
    """Root of everything that this room raises on purpose."""


class InvalidClipSpec(CatalogError):
    """A clip geometry that no clip can have."""


class SpecMismatch(CatalogError):
    """The catalogue holds clips of another geometry."""


class CatalogNotFound(CatalogError):
    """There is no catalogue at that place."""


class CatalogIncomplete(CatalogNotFound):
    """Making the catalogue was interrupted; making it again completes it."""


class UnknownTable(CatalogError):
    """The catalogue has no table of that name."""


class UnknownColumn(CatalogError):
    """The table has no column of that name."""


class InvalidRows(CatalogError):
    """Rows without a key, or with values that do not fit their columns."""


class ReadOnlyCatalog(CatalogError):
    """A write to a view of the past."""


class VectorMismatch(CatalogError):
    """Vectors of another length, or of another embedder, than the column holds."""


class SnapshotMissing(CatalogError):
    """A snapshot names a table or a version that this catalogue does not have."""


class BadBackup(CatalogError):
    """A place that a backup cannot go to, or one that holds none."""


class WriteConflict(CatalogError):
    """Other writers kept winning until the retries were used up."""


class UnknownRequest(CatalogError):
    """No request has that id, or it is somebody else's."""


class OtherRequest(CatalogError):
    """An idempotency key that stands for another request already."""


class LostClaim(CatalogError):
    """A worker that may write to a request no more: it was cancelled, or another worker has it."""


class ModelMissing(CatalogError):
    """The catalogue knows the model, but its files are not where they were left."""


class LeaseHeld(CatalogError):
    """Somebody else holds the lease."""


class LeaseLost(CatalogError):
    """Another holder has the lease by now: what the former one still wants to write is refused."""


class UnknownModel(CatalogError):
    """No model of this catalogue has that id, or several begin with it."""


class NoChampion(CatalogError):
    """There is no champion, or none before it to go back to."""


class UnknownEvent(CatalogError):
    """There is no act of that number."""


class NoConflict(CatalogError):
    """A clip that waits for nobody to say which category it belongs to."""


class ChangedMeanwhile(CatalogError):
    """Rows that an act would change are not what its author saw; nothing is overwritten.

    Attributes:
        table: where they are.
        keys: which rows, by the values of their key columns.
    """

    def __init__(self, message: str, table: str, keys: Sequence[tuple]) -> None:
        super().__init__(message)
        self.table = table
        self.keys = keys

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.table, self.keys)


class UnknownCategory(CatalogError):
    """No category has that id, name or alias."""


class UnknownClip(CatalogError):
    """No clip has that id, or several begin with it."""


class NothingSelected(CatalogError):
    """An act about clips, and none is named or matches; or others than those that were counted."""


class BadName(CatalogError):
    """A name that no category or snapshot can have, or that another one has."""


class UnknownLicence(CatalogError):
    """No clip has these terms."""


class BadAct(CatalogError):
    """An act that contradicts itself: a merge in a circle, a split of nothing."""


class BadFilter(CatalogError):
    """A filter that cannot be read.

    Attributes:
        position: 0-based offset into the filter's text where reading stopped making sense.
    """

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.position)
