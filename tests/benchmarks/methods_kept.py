"""What the comparison of methods made so far, so that a command that was killed goes on."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.files import write_atomically, written


@dataclass(frozen=True)
class Kept:
    """A folder of what was made; `decides` is all that it depends on beside what each is asked for."""

    folder: Path
    decides: tuple[object, ...]

    def arrays(self, make: Callable[[], Mapping[str, Any]], *what: object) -> dict[str, np.ndarray]:
        """Arrays by name, numbers as arrays of no dimension: kept ones, or those that are made now."""
        file = self._file("npz", what)
        if not file.exists():
            made = make()
            with written(file) as partial, partial.open("wb") as stream:
                np.savez_compressed(stream, **made)
        with np.load(file) as found:
            return dict(found)

    def facts(self, make: Callable[[], dict[str, Any]], *what: object) -> dict[str, Any]:
        """The same of what JSON holds."""
        file = self._file("json", what)
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(make()))
        return json.loads(file.read_text(encoding="utf-8"))

    def _file(self, suffix: str, what: tuple[object, ...]) -> Path:
        digest = hashlib.sha256(repr((self.decides, what)).encode()).hexdigest()[:16]
        return self.folder / f"{digest}.{suffix}"
