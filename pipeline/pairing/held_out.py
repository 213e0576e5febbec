"""Which clips a run is looked at with while it trains, and their features: targets that never train."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
from torch import Tensor

from catalog.vocabulary import NO_LICENCE, Split
from pipeline.pairing.plan import COLUMNS, Pair, PairSettings
from pipeline.pairing.stream import PairStream, told_to_training
from training.batch import TrainingBatch

SEEN, UNSEEN = "seen", "unseen"


@dataclass(frozen=True)
class HeldOutPair:
    """One target, a reference of its `category` and one of `other_category`; `group` is SEEN or UNSEEN."""

    target_id: str
    same_id: str
    other_id: str
    category: str
    other_category: str
    group: str
    seed: int


def choose_held_out(
    clips: pa.Table | Mapping[str, Sequence], settings: PairSettings, count: int
) -> tuple[HeldOutPair, ...]:
    """At most `count` pairs of each group: a pure function of the clips, whatever the order of their rows.

    A target is a clip that does not train: of a split that the settings leave out, or of a held-out category.
    It is SEEN when two clips of its category train, else UNSEEN. Its references do not train either where
    that can be had, and the other one is of the same group where that has another category. Targets go round
    the categories, so that few pairs still show many effects.

    Args:
        clips: columns clip_id, category_id, licence, split.
        settings: what trains, and the seed.
    """
    usable = _usable(clips, settings)
    trained = _trained_categories(usable)
    group = {clip: SEEN if category in trained else UNSEEN for clip, (category, _) in usable.items()}
    members: dict[str, list[str]] = {}
    for clip, (category, _) in usable.items():
        members.setdefault(category, []).append(clip)
    pairs: list[HeldOutPair] = []
    for name in (SEEN, UNSEEN):
        targets = [clip for clip, (_, trains) in usable.items() if group[clip] == name and not trains]
        chosen: list[HeldOutPair] = []
        for target in _round_robin(targets, usable, settings.seed):
            category = usable[target][0]
            same = [clip for clip in members[category] if clip != target]
            other = [clip for clip in usable if usable[clip][0] != category]
            other = [clip for clip in other if group[clip] == name] or other
            if same and other:
                references = [
                    min(
                        [clip for clip in pool if not usable[clip][1]] or pool,
                        key=lambda clip, t=target, r=role: _hash(settings.seed, r, t, clip),
                    )
                    for role, pool in (("same", same), ("other", other))
                ]
                seed = _hash(settings.seed, "sample", target) >> 1
                categories = (usable[clip][0] for clip in references)
                chosen.append(HeldOutPair(target, *references, *categories, name, seed))
            if len(chosen) == count:
                break
        pairs += chosen
    return tuple(pairs)


@dataclass(frozen=True)
class HeldOutStream:
    """The features of held-out pairs by number; picklable (`while_training.HeldOutPairs`).

    Attributes:
        stream: of the same snapshot and encoder.
        pairs: see `choose_held_out`.
    """

    stream: PairStream
    pairs: tuple[HeldOutPair, ...]

    @classmethod
    def open(cls, stream: PairStream, count: int) -> "HeldOutStream | None":
        """At most `count` pairs of each group of a stream's snapshot; None where there are none."""
        pairs = choose_held_out(stream.clips, stream.settings, count)
        return cls(stream, pairs) if pairs else None

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """What each pair shows."""
        return tuple(pair.group for pair in self.pairs)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Of which category each pair is."""
        return tuple(pair.category for pair in self.pairs)

    def batch(self, numbers: Sequence[int]) -> tuple[TrainingBatch, TrainingBatch]:
        """The same targets, captioned, with references of their own categories and of other ones."""
        chosen = [self.pairs[n] for n in numbers]
        with told_to_training():
            return (
                self.stream.batch_of([Pair(p.target_id, p.same_id, p.category, p.seed) for p in chosen]),
                self.stream.batch_of(
                    [Pair(p.target_id, p.other_id, p.other_category, p.seed) for p in chosen]
                ),
            )

    def empty_caption(self) -> Tensor:
        """The embedding of no caption [T, D]."""
        with told_to_training():
            return self.stream.empty_caption


def _usable(clips: pa.Table | Mapping[str, Sequence], settings: PairSettings) -> dict[str, tuple[str, bool]]:
    """Category of each usable clip and whether it trains, by clip id, in order."""
    columns = [c.to_pylist() if hasattr(c, "to_pylist") else c for c in (clips[name] for name in COLUMNS)]
    _, categories, _, splits = columns
    foreign = {category for category, split in zip(categories, splits, strict=True) if split == Split.OOD}
    usable = {}
    for clip, category, licence, split in sorted(zip(*columns, strict=True), key=lambda row: row[0]):
        licensed = settings.licences is None or (licence or NO_LICENCE) in settings.licences
        if category and licensed:
            trains = split in settings.splits and category not in (*settings.held_out_categories, *foreign)
            usable[clip] = (category, trains)
    return usable


def _trained_categories(usable: Mapping[str, tuple[str, bool]]) -> set[str]:
    counts = Counter(category for category, trains in usable.values() if trains)
    return {category for category, count in counts.items() if count > 1}


def _round_robin(targets: Iterable[str], usable: Mapping[str, tuple[str, bool]], seed: int) -> list[str]:
    """Targets in a stable random order, one of each category before the second of any."""
    shuffled = sorted(targets, key=lambda clip: _hash(seed, "target", clip))
    taken: dict[str, int] = {}
    turns = {}
    for clip in shuffled:
        category = usable[clip][0]
        turns[clip] = taken[category] = taken.get(category, -1) + 1
    return sorted(shuffled, key=lambda clip: turns[clip])


def _hash(seed: int, *words: str) -> int:
    digest = hashlib.blake2b("/".join([str(seed), *words]).encode(), digest_size=8, person=b"held out")
    return int.from_bytes(digest.digest(), "big")
