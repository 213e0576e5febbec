"""Measure clips over Ray workers, real ones and generated ones alike; what was measured before stands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.store import Catalog
from pipeline.embedding.settings import EmbedSettings
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.networks import AESTHETIC_MODEL, FVD, Measuring
from pipeline.evaluation.settings import EvaluateSettings
from pipeline.evaluation.store import EvaluationStore
from pipeline.stored import read_stored
from pipeline.workers.actors import map_keys
from training.errors import TrainingError
from training.progress import Progress


@dataclass(frozen=True)
class Item:
    """A clip to measure.

    Attributes:
        clip_id: of a real clip; None for a generated one, which its name finds in the store.
        reference_id, prompt: what it is compared with, where it is.
        metrics: that are wanted of it.
    """

    clip_id: str | None
    metrics: tuple[str, ...]
    reference_id: str | None = None
    prompt: str = ""


class Measurer:
    """The networks of a plan, each loaded when it is first needed.

    Args:
        fps: of the clips.
    """

    def __init__(
        self, measuring: Measuring, settings: EvaluateSettings, embed: EmbedSettings, fps: float
    ) -> None:
        import torch

        self.measuring, self.settings, self.embed, self.fps = measuring, settings, embed, fps
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def value(self, metric: str, frames: np.ndarray, reference: Callable[[], Any], item: Item) -> Any:
        """What is stored of a metric: a number; logits for FVD; a category for the effect; None where the
        metric says nothing of this clip.

        Args:
            reference: gives the frame vectors of the item's reference.
        """
        import torch

        from training.evaluation import aesthetic, consistency, dynamic_degree, i3d, similarity, smoothness

        pixels = torch.from_numpy(frames)
        if metric in FVD:
            if len(frames) < i3d.FEWEST:
                return None
            found = i3d.features(self.i3d, pixels[None], "crop" if metric == "fvd_crop" else "squash")
            return [round(each, 5) for each in found[0].tolist()]
        if metric == "dynamic_degree":
            seen = pixels[list(dynamic_degree.sampled(len(frames), self.fps))]
            if len(seen) < 2:
                return None
            return float(dynamic_degree.is_dynamic(dynamic_degree.flows(self.raft, seen), len(seen)))
        if metric == "smoothness":
            return smoothness.smoothness(frames, smoothness.INTERPOLATORS[self.settings.interpolator])
        if metric == "aesthetic":
            return aesthetic.aesthetic(pixels, self.aesthetic_tower, self.aesthetic_head)
        if metric == "consistency":
            return consistency.consistency(consistency.frame_vectors(self.dino, pixels))
        if metric == "effect":
            return self.classifier.found([frames])[0]
        vectors = self.embedder.frame_vectors([frames])[0]
        if metric == "clip_reference":
            return similarity.to_reference(vectors, reference())
        if not item.prompt:
            return None
        return similarity.to_prompt(vectors, self.embedder.text_vectors([item.prompt])[0])

    @cached_property
    def i3d(self):
        from training.evaluation.i3d import load_i3d

        return load_i3d(self.measuring.files["i3d"], self.device)

    @cached_property
    def raft(self):
        from training.evaluation.dynamic_degree import load_raft

        return load_raft(self.measuring.files["raft"], self.device)

    @cached_property
    def dino(self):
        from training.evaluation.consistency import load_dino

        return load_dino(self.measuring.files["dino"], self.device)

    @cached_property
    def aesthetic_head(self):
        from training.evaluation.aesthetic import load_head

        return load_head(self.measuring.files["aesthetic_head"])

    @cached_property
    def aesthetic_tower(self):
        from pipeline.embedding.embedder import Embedder

        settings = self.embed.model_copy(
            update={"model": AESTHETIC_MODEL, "pretrained": self.settings.aesthetic_clip}
        )
        tower = Embedder(settings, self.device)
        return lambda pixels: tower.model.encode_image(pixels.to(tower.device))

    @cached_property
    def embedder(self):
        from pipeline.embedding.embedder import Embedder

        return Embedder(self.embed, self.device)

    @cached_property
    def classifier(self):
        from training.evaluation.effect import EffectClassifier

        return EffectClassifier.load(self.measuring.classifier)


class MeasureClips:
    """Actor: table (key: an item's name) in; its measures are written to the store, and a table (key, reason)
    comes back."""

    def __init__(
        self,
        catalog: Catalog,
        store: EvaluationStore,
        items: Mapping[str, Item],
        measuring: Measuring,
        settings: EvaluateSettings,
        embed: EmbedSettings,
    ) -> None:
        self.catalog, self.store, self.items = catalog, store, items
        self.measurer = Measurer(measuring, settings, embed, float(catalog.spec.fps))
        self._references: dict[str, Any] = {}

    def __call__(self, batch: pa.Table) -> pa.Table:
        names = batch["key"].to_pylist()
        reasons = [self._measure(name, self.items[name]) for name in names]
        return pa.table({"key": names, "reason": pa.array(reasons, pa.string())})

    def _measure(self, name: str, item: Item) -> str | None:
        wanted = self.measurer.measuring.wanted(item.metrics)
        missing = self.store.missing(name, wanted)
        if not missing:
            return None
        frames, reason = self._frames(name, item)
        if frames is None:
            return reason
        found = {}
        for metric in missing:
            try:
                value = self.measurer.value(metric, frames, lambda: self._reference(item.reference_id), item)
            except (PipelineError, TrainingError, ValueError) as error:
                reason = f"{METRICS[metric].title}: {error}"
            else:
                found[metric] = (wanted[metric], value)
        self.store.note(name, found)
        return reason

    def _frames(self, name: str, item: Item) -> tuple[np.ndarray | None, str | None]:
        if item.clip_id is not None:
            _, frames, reason = next(read_stored(self.catalog, [item.clip_id]))
            return frames, reason
        import av

        from pipeline.video.transcode import read_clip

        try:
            return read_clip(self.store.video(name).read_bytes()), None
        except (OSError, PipelineError, av.FFmpegError, ValueError) as error:
            return (
                None,
                f"{self.store.video(name)} cannot be read ({error}); delete it, and it is made again.",
            )

    def _reference(self, clip_id: str) -> Any:
        """Frame vectors of a reference; kept, for many clips may have the same."""
        if clip_id not in self._references:
            if len(self._references) > 256:
                self._references.clear()
            _, frames, reason = next(read_stored(self.catalog, [clip_id]))
            if frames is None:
                raise ValueError(reason)
            self._references[clip_id] = self.measurer.embedder.frame_vectors([frames])[0]
        return self._references[clip_id]


@dataclass
class MeasureReport:
    """What measuring did: items that stood, were measured, and could not be read, with the reason."""

    kept: int = 0
    measured: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def measures_due(store: EvaluationStore, measuring: Measuring, items: Mapping[str, Item]) -> list[str]:
    """The items that lack a measure."""
    return [name for name, item in items.items() if store.missing(name, measuring.wanted(item.metrics))]


def measure_clips(
    catalog: Catalog,
    store: EvaluationStore,
    measuring: Measuring,
    items: Mapping[str, Item],
    settings: EvaluateSettings,
    embed: EmbedSettings,
    progress: Progress | None = None,
) -> MeasureReport:
    """Measure what the store lacks; killed, the same call goes on."""
    due = measures_due(store, measuring, items)
    report = MeasureReport(kept=len(items) - len(due))
    done = report.kept
    if progress:
        progress(done, len(items), {})
    arguments = {
        "catalog": catalog,
        "store": store,
        "items": {name: items[name] for name in due},
        "measuring": measuring,
        "settings": settings,
        "embed": embed,
    }
    for table in map_keys(
        due,
        MeasureClips,
        arguments,
        batch_size=4,
        actors=settings.actors,
        cpus=settings.cpus_per_actor,
        gpus=settings.gpus_per_actor,
        setting="evaluate",
    ):
        for row in table.to_pylist():
            done += 1
            if row["reason"]:
                report.failures[row["key"]] = row["reason"]
            else:
                report.measured += 1
        if progress:
            progress(done, len(items), {})
    return report
