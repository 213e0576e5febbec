"""Snapshots with a name: taken, listed, compared, put back; what a model was trained on is one too."""

from catalog.snapshots.compare import Comparison, compare
from catalog.snapshots.named import NamedSnapshot, remove, resolve, snapshots, take
from catalog.snapshots.restore import restore

__all__ = ["Comparison", "NamedSnapshot", "compare", "remove", "resolve", "restore", "snapshots", "take"]
