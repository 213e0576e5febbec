"""What an evaluation keeps: generated clips, each with a row of facts, and what was measured of any clip.

    <folder>/
        made/<key>.mp4, <key>.json     a generated clip, and what it was made of
        real/<clip_id>.mp4             clips of the catalogue, for pages
        measured/<name>.json           metric → what measured it, and the value
        classifiers/<digest>.safetensors

Each file appears whole or not at all, a clip's row after its video: whoever is killed loses the clip that was
being made and no other, and nothing is made or measured twice.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.files import write_atomically


@dataclass(frozen=True)
class EvaluationStore:
    """The folder; workers on other machines reach it by the same path, as they do the models'."""

    folder: Path

    def video(self, key: str) -> Path:
        """Where a generated clip lies."""
        return self.folder / "made" / f"{key}.mp4"

    def is_made(self, key: str) -> bool:
        """Whether clip and row are there, whole."""
        return self._row(key).is_file() and self.video(key).is_file()

    def keep(self, key: str, video: bytes, row: Mapping[str, Any]) -> None:
        """Write a generated clip, and then its row."""
        write_atomically(self.video(key), video)
        write_atomically(self._row(key), json.dumps(row, indent=1, sort_keys=True, default=str) + "\n")

    def row(self, key: str) -> dict[str, Any]:
        """What a generated clip was made of."""
        return json.loads(self._row(key).read_text("utf-8"))

    def real(self, clip_id: str) -> Path:
        """Where a clip of the catalogue lies, for pages."""
        return self.folder / "real" / f"{clip_id}.mp4"

    def measured(self, name: str) -> dict[str, dict[str, Any]]:
        """Metric → {"by": what measured it, "value": …} of a clip; what cannot be read is measured again."""
        try:
            found = json.loads(self._measures(name).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def missing(self, name: str, wanted: Mapping[str, str]) -> list[str]:
        """The metrics of `wanted` (metric → what measures it) that a clip lacks."""
        there = self.measured(name)
        return [metric for metric, by in wanted.items() if there.get(metric, {}).get("by") != by]

    def note(self, name: str, found: Mapping[str, tuple[str, Any]]) -> None:
        """Add measures (metric → what measured it, value) to those of a clip."""
        rows = {metric: {"by": by, "value": value} for metric, (by, value) in found.items()}
        whole = self.measured(name) | rows
        write_atomically(self._measures(name), json.dumps(whole, sort_keys=True) + "\n")

    def values(self, names: Iterable[str], metric: str, by: str) -> dict[str, Any]:
        """The values of a metric by clip, where it was measured by that."""
        found = {}
        for name in names:
            row = self.measured(name).get(metric, {})
            if row.get("by") == by:
                found[name] = row["value"]
        return found

    def classifier(self, digest: str) -> Path:
        """Where a classifier of effects lies that was trained here."""
        return self.folder / "classifiers" / f"{digest}.safetensors"

    def _row(self, key: str) -> Path:
        return self.folder / "made" / f"{key}.json"

    def _measures(self, name: str) -> Path:
        return self.folder / "measured" / f"{name}.json"
