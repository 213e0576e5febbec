"""The training stream: sample numbers in, batches out, their features fetched ahead by Ray Data."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from queue import Full, Queue

import numpy as np
import pyarrow as pa
import ray.data
import torch
from lancedb.expr import col
from ray.data import ExecutionResources, TaskPoolStrategy

from catalog.errors import CatalogError
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import Status
from pipeline.encode import EMPTY_CAPTION
from pipeline.errors import PipelineError
from pipeline.features.tensors import from_bytes
from pipeline.pairing.fetch import KEYS, OF_REFERENCE, FetchFeatures, FetchOrTell
from pipeline.pairing.plan import COLUMNS, GivenPair, Pair, PairPlan, PairSettings
from pipeline.pairing.taught import spread_of, taught_clips
from pipeline.sources.given import wanted_pairs
from pipeline.workers.quiet import quiet
from training.batch import Sample, TrainingBatch, collate, pad_reference
from training.errors import NoBatch
from training.randomness import draw_posterior, happens, stream

POLL = 0.2
# A task costs some tens of milliseconds besides what it reads.
BYTES_PER_TASK = 16 * 2**20
MOST_PER_TASK = 16


class NothingEncoded(PipelineError):
    """The snapshot holds no features of the encoder."""


@dataclass(frozen=True)
class PairStream:
    """The `BatchStream` over a catalogue's snapshot; picklable, every worker makes the same plan from it.

    Sample number n is the same tensors in whatever worker, batch or window it falls: its pair is a pure
    function of (snapshot, seed, n), and all that is random about it of its own seed.

    Attributes:
        catalog: a view of one snapshot (`Catalog.at`).
        encoder_id: whose features are read.
        settings: what may be paired.
        needs: what of a reference the method takes beside its category; see `MethodSettings.needs`.
        references: of each target.
        taught: the name of stored adapters that teach; a sample is then one clip that has such an adapter,
            and its own reference. None: pairs.
        window: batches per Ray dataset; the next one starts while the current one is consumed, so that a plan
            of any length is never held whole.
        fetchers: Ray tasks of one worker that read at the same time.
        cpus_per_fetch: what one occupies; small, so that it fits beside training workers.
        ahead: finished batches that wait for their use.
        buffer_bytes: of Ray's object store that one window may fill.
    """

    catalog: Catalog
    encoder_id: str
    settings: PairSettings
    needs: frozenset[str] = frozenset({"latents"})
    references: int = 1
    taught: str | None = None
    window: int = 256
    fetchers: int = 2
    cpus_per_fetch: float = 0.1
    ahead: int = 4
    buffer_bytes: int = 512 * 2**20

    @classmethod
    def open(cls, catalog: Catalog, encoder_id: str, settings: PairSettings, **options) -> "PairStream":
        """A stream whose plan has been made once, so that what is wrong is said before workers start.

        Args:
            catalog: a view of a snapshot; of a live catalogue a snapshot is taken.
            options: further attributes.

        Raises:
            NothingEncoded: no clip has features of this encoder.
            NoPairs: no two clips may be paired, or given pairs are asked for and there are none.
            NothingTaught: no clip has an adapter of the name `taught`.
            UnknownCategory: a category is to be held out that nothing is called.
        """
        pinned = catalog if catalog.pinned is not None else catalog.at(catalog.snapshot())
        if settings.held_out_categories:
            names = CategoryNames.load(pinned)
            held_out = names.ids_of(settings.held_out_categories, "pairs.held_out_categories")
            settings = settings.model_copy(update={"held_out_categories": held_out})
        opened = cls(pinned, encoder_id, settings, **options)
        opened.plan  # noqa: B018 - made here for its errors
        return opened

    def __getstate__(self) -> dict:
        # The plan is made again where it is needed: it is larger than what it is made of.
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}

    def at(self, catalog: Catalog) -> "PairStream":
        """The same stream, its plan too, over another view whose clips and given pairs are the same."""
        moved = replace(self, catalog=catalog)
        moved.__dict__.update({name: getattr(self, name) for name in ("clips", "given", "adapters", "plan")})
        return moved

    def pairs(self) -> "PairStream":
        """The stream of pairs of the same clips, whatever teaches."""
        return self if self.taught is None else replace(self, taught=None)

    @cached_property
    def clips(self) -> pa.Table:
        """What `trainable_clips` says of the view."""
        return trainable_clips(self.catalog, self.encoder_id)

    @cached_property
    def given(self) -> list[GivenPair]:
        """Pairs that data sets name; none where the settings do not ask for them."""
        return wanted_pairs(self.catalog, self.settings)

    @cached_property
    def adapters(self) -> dict[str, str]:
        """The clips that teach, and a digest of the adapter of each; {} where none does."""
        return {} if self.taught is None else taught_clips(self.catalog, self.taught)

    @cached_property
    def plan(self) -> PairPlan:
        """The pairs of every sample number."""
        if self.taught is None:
            return PairPlan.build(self.clips, self.settings, self.given)
        clips = self.clips
        known = pa.array(list(self.adapters), pa.string())
        return PairPlan.alone(clips.filter(pa.compute.is_in(clips["clip_id"], known)), self.settings)

    def spread(self) -> float:
        """How far apart the adapters of the plan's clips are; see `spread_of`."""
        return spread_of(self.catalog, str(self.taught), self.plan.clip_ids.tolist())

    def rows(self) -> list[tuple]:
        """The clips as sorted rows: what two views that train alike have in common."""
        rows = self.clips.to_pylist()
        if self.taught is None:
            return sorted(tuple(row.values()) for row in rows)
        taught = [row for row in rows if row["clip_id"] in self.adapters]
        return sorted((*row.values(), self.adapters[row["clip_id"]]) for row in taught)

    @property
    def _fetch(self) -> FetchFeatures:
        return FetchFeatures(self.catalog, self.encoder_id, self.needs, self.taught)

    @cached_property
    def empty_caption(self) -> torch.Tensor:
        """The embedding of the empty caption [T, D]."""
        where = (col("clip_id") == EMPTY_CAPTION).and_(col("encoder_id") == self.encoder_id)
        rows = self.catalog.scan("features", ["text_embedding", "text_shape"], where).to_pylist()
        if not rows:
            raise NothingEncoded("The empty caption has not been encoded. Run `video2lora encode` again.")
        return from_bytes(rows[0]["text_embedding"], rows[0]["text_shape"])

    def batch(self, numbers: Sequence[int]) -> TrainingBatch:
        """The batch of these sample numbers, fetched here and now, without Ray."""
        return self._collate(self._fetch(self._keys([numbers])).to_pylist())

    def batch_of(self, pairs: Sequence[Pair]) -> TrainingBatch:
        """The batch of these pairs, captions kept, fetched here and now."""
        rows = [_key(pair, batch=0, drop_caption=False) for pair in pairs]
        return self._collate(self._fetch(pa.Table.from_pylist(rows, schema=KEYS)).to_pylist())

    def __call__(self, plan: Iterable[list[int]]) -> Iterator[TrainingBatch]:
        """One batch per entry of `plan`, in its order; fetching runs ahead through Ray Data.

        Closing the iterator stops the fetching.

        Raises:
            NoBatch: with the sentence of what went wrong in this room or the catalogue.
        """
        plan = iter(plan)
        windows = iter(lambda: list(islice(plan, self.window)), [])
        current = _Ahead(self, next(windows, []))
        upcoming = None
        try:
            while current.size:
                upcoming = _Ahead(self, next(windows, []))
                yield from current
                current = upcoming
        finally:
            current.stop()
            if upcoming is not None:
                upcoming.stop()

    def fetch(self, window: list[list[int]]) -> Iterator[TrainingBatch]:
        """The batches of one window, in order, through one Ray dataset."""
        # A block is what one task fetches: whole batches, in the order of the plan.
        # Not from_arrow: it waits for tasks of a whole CPU, which trainers that fill the machine never leave.
        share = self._batches_per_task(len(window[0]))
        starts = range(0, len(window), share)
        keys = quiet(ray.data.from_blocks([self._keys(window[i : i + share], first=i) for i in starts]))
        options = keys.context.execution_options
        options.preserve_order = True
        options.resource_limits = ExecutionResources.for_limits(object_store_memory=self.buffer_bytes)
        samples = keys.map_batches(
            FetchOrTell(self._fetch).__call__,
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=self.cpus_per_fetch,
            compute=TaskPoolStrategy(size=min(self.fetchers, len(starts))),
        )
        held: list[dict] = []
        for table in samples.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            # Ray may cut a large block in two, also within a batch.
            for row in table.to_pylist():
                if row["error"] is not None:
                    raise PipelineError(row["error"])
                held.append(row)
                if len(held) == len(window[row["batch"]]):
                    yield self._collate(held)
                    held = []

    def _batches_per_task(self, batch_size: int) -> int:
        """How many batches make a task worth its start, and a block small beside the buffer."""
        where = (col("clip_id") == str(self.plan.clip_ids[0])).and_(col("encoder_id") == self.encoder_id)
        row = self.catalog.scan("features", ["latents_shape", "text_shape"], where).to_pylist()[0]
        values = 3 * np.prod(row["latents_shape"]) + np.prod(row["text_shape"])
        return int(np.clip(BYTES_PER_TASK / (2 * values * batch_size), 1, MOST_PER_TASK))

    def _keys(self, batches: list[Sequence[int]], first: int = 0) -> pa.Table:
        rows = [
            _key(pair, first + i, happens(pair.seed, "caption", self.settings.caption_dropout))
            for i, numbers in enumerate(batches)
            for pair in self.plan.pairs(numbers, self.references)
        ]
        return pa.Table.from_pylist(rows, schema=KEYS)

    def _collate(self, rows: list[dict]) -> TrainingBatch:
        return collate([self._sample(row) for row in rows])

    def _sample(self, row: dict) -> Sample:
        shape = tuple(row["target_shape"])
        mean, std = from_bytes(row["target_mean"], shape), from_bytes(row["target_std"], shape)
        text = self.empty_caption if row["drop_caption"] else from_bytes(row["text"], row["text_shape"])
        return Sample(
            target_latents=draw_posterior(mean, std, row["seed"]),
            reference_category=row["category"],
            **self._references(row, shape),
            first_frame_latents=from_bytes(row["first_frame"], row["first_frame_shape"]),
            text_embeddings=text,
            sample_seed=row["seed"],
            pair_id=f"{row['target_id']}<-{'+'.join(row['reference_ids'])}",
        )

    def _references(self, row: dict, shape: tuple[int, int, int, int]) -> dict[str, torch.Tensor]:
        """What the method needs of a sample's references, as `Sample` has it; shape is the target's."""

        def each(data: str, shapes: str) -> list[torch.Tensor]:
            pairs = zip(row[f"reference_{data}"], row[f"reference_{shapes}"], strict=True)
            return [from_bytes(value, shape) for value, shape in pairs]

        found = {}
        if "latents" in self.needs:
            padded = [pad_reference(latents, shape) for latents in each(*OF_REFERENCE["latents"])]
            found["reference_latents"], found["reference_mask"] = map(torch.cat, zip(*padded, strict=True))
        if "first_frame" in self.needs:
            size = row["first_frame_shape"]
            frames = [from_bytes(value, size) for value in row["reference_first_frame_latents"]]
            found["reference_first_frames"] = torch.stack(frames)
        if "text" in self.needs:
            dropped = [self.empty_caption] * len(row["reference_ids"])
            texts = dropped if row["drop_caption"] else each(*OF_REFERENCE["text"])
            found["reference_texts"] = torch.stack(texts)
        if self.taught is not None:
            found["reference_adapter"] = torch.tensor(row["reference_adapter"])
        return found


class _Ahead:
    """One window fetched on a thread of its own, a bounded number of batches before they are asked for."""

    def __init__(self, stream: PairStream, window: list[list[int]]) -> None:
        self.size = len(window)
        self._stream, self._window = stream, window
        self._ready: Queue[TrainingBatch | BaseException] = Queue(maxsize=stream.ahead)
        self._stopped = threading.Event()
        if window:
            threading.Thread(target=self._run, name="fetch-window", daemon=True).start()

    def __iter__(self) -> Iterator[TrainingBatch]:
        for _ in range(self.size):
            item = self._ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """Have the thread end at its next batch; Ray's tasks of the window end with it."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            # Closed here, not by the garbage collector: Ray's tasks end with the iterator.
            with told_to_training(), closing(self._stream.fetch(self._window)) as batches:
                for batch in batches:
                    if not self._put(batch.ready()):
                        return
        except BaseException as error:  # noqa: BLE001 - raised again where the batches are consumed
            self._put(error)

    def _put(self, item: TrainingBatch | BaseException) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=POLL)
                return True
            except Full:
                continue
        return False


def _key(pair: Pair, batch: int, drop_caption: bool) -> dict:
    """The row of KEYS that asks for a pair."""
    return {
        "batch": batch,
        "target_id": pair.target_id,
        "reference_ids": [pair.reference_id, *pair.further_ids],
        "category": pair.category,
        "seed": pair.seed,
        "drop_caption": drop_caption,
        "variant": float(stream(pair.seed, "first_frame_variant").random()),
    }


@contextmanager
def told_to_training() -> Iterator[None]:
    """Turn what a person has to put right into NoBatch: it stops a run instead of being retried."""
    try:
        yield
    except (PipelineError, CatalogError) as error:
        raise NoBatch(str(error)) from error


def trainable_clips(catalog: Catalog, encoder_id: str) -> pa.Table:
    """Accepted clips that have features of the encoder, with the columns that pairing reads.

    Raises:
        NothingEncoded: there are none.
    """
    encoded = catalog.scan("features", ["clip_id"], col("encoder_id") == encoder_id)["clip_id"]
    clips = catalog.scan("clips", list(COLUMNS), col("status") == Status.ACCEPTED)
    clips = clips.filter(pa.compute.is_in(clips["clip_id"], encoded.combine_chunks()))
    if not clips.num_rows:
        stored = set(catalog.scan("features", ["encoder_id"])["encoder_id"].to_pylist()) - {encoder_id}
        others = ", ".join(sorted(name[:12] for name in stored))
        found = f"; those that are stored are of {others}" if others else ""
        raise NothingEncoded(
            f"No clip has features of encoder {encoder_id[:12]}{found}. Run `video2lora encode` with the "
            "backbone that is trained, and train on that."
        )
    return clips
