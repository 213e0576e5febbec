"""The map of a catalogue: computed beside the pages, kept from start to start, and shown when it is there."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

import numpy as np
import pyarrow as pa
from lancedb.expr import col

from catalog.predicates import not_null
from catalog.store import Catalog
from catalog.vocabulary import Status
from jobs.errors import JobError
from pipeline.errors import PipelineError
from training.files import written

# Where maps, and pictures made of clips, are kept within the working directory.
PICTURES = "web-pictures"


class NoChart(JobError):
    """A map that is not drawn, and why."""


@dataclass(frozen=True)
class Chart:
    """Accepted clips with vectors, and their places in the unit square, [n, 2]."""

    clip_ids: tuple[str, ...]
    places: np.ndarray

    def within(self, polygon: np.ndarray) -> list[str]:
        """The clips that a lasso [k, 2] has caught."""
        from pipeline.embedding.layout import inside

        caught = inside(self.places, polygon)
        return [clip for clip, yes in zip(self.clip_ids, caught, strict=True) if yes]


class Charts:
    """The newest map. Where clips came or went since, it is drawn again, and the old one serves till then.

    Attributes:
        trouble: why the newest clips could not be drawn, in a sentence.
    """

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self.catalog = catalog
        self.folder = folder
        self.trouble: str | None = None
        self._newest: Chart | None = None
        self._looked: int | None = None
        self._drawing: Thread | None = None
        self._lock = Lock()

    def newest(self) -> Chart | None:
        """The map as far as it is drawn; None while the first one is drawn, or where nothing is embedded."""
        with self._lock:
            version = self.catalog.tables.handle("clips").version
            if version != self._looked and self._drawing is None:
                self._looked = version
                clip_ids, vectors = self._vectors()
                if self._newest is None or set(clip_ids) != set(self._newest.clip_ids):
                    self._draw(clip_ids, vectors)
            return self._newest

    def drawn(self) -> Chart:
        """The map of the clips as they are now, waited for.

        Raises:
            NoChart: nothing is embedded, or it could not be drawn; the sentence says why.
        """
        self.newest()
        self.wait()
        if (chart := self.newest()) is None or self.trouble:
            raise NoChart(self.trouble or "The clips have no vectors yet; make them with `video2lora embed`.")
        return chart

    @property
    def drawing(self) -> bool:
        """Whether a map is being drawn."""
        return self._drawing is not None

    def wait(self) -> None:
        """Until what is being drawn is there."""
        if (drawing := self._drawing) is not None:
            drawing.join()

    def _draw(self, clip_ids: list[str], vectors: np.ndarray) -> None:
        """Take the file where these clips were drawn before, else draw them in a thread."""
        self.trouble = None
        if not clip_ids:
            return
        digest = hashlib.sha256("\n".join(clip_ids).encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(vectors[:: max(1, len(vectors) // 64)]).tobytes())
        file = self.folder / f"map-{digest.hexdigest()[:32]}.npy"
        if file.exists():
            self._newest = Chart(tuple(clip_ids), np.load(file, allow_pickle=False))
            return

        def work() -> None:
            try:
                from pipeline.embedding.layout import layout

                places = layout(vectors)
                self.folder.mkdir(parents=True, exist_ok=True)
                with written(file) as partial, partial.open("wb") as opened:
                    np.save(opened, places, allow_pickle=False)
                self._newest = Chart(tuple(clip_ids), places)
            except PipelineError as error:
                self.trouble = str(error)
            except OSError as error:
                self.trouble = f"The map cannot be kept in {self.folder}: {error.strerror or error}."
            except Exception as error:
                logging.getLogger(__name__).exception("The map could not be drawn.")
                self.trouble = f"The map could not be drawn, by a fault of ours: {error}."
            finally:
                self._drawing = None

        self._drawing = Thread(target=work, name="map", daemon=True)
        self._drawing.start()

    def _vectors(self) -> tuple[list[str], np.ndarray]:
        schema = self.catalog.schema("clips")
        if "embedding" not in schema.names or not pa.types.is_fixed_size_list(schema.field("embedding").type):
            return [], np.zeros((0, 0))
        used = not_null("embedding") & (col("status") == Status.ACCEPTED)
        rows = self.catalog.scan("clips", ["clip_id", "embedding"], used).sort_by("clip_id")
        flat = rows["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        ids = rows["clip_id"].to_pylist()
        return ids, np.asarray(flat, dtype=np.float64).reshape(len(ids), -1)
