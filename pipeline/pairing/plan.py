"""Which clip is the target and which the reference of training sample number n.

A plan is a value: a pure function of the table of clips (one catalogue snapshot), the settings and the
sample number. Workers that build it from the same snapshot agree on every sample without talking.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from catalog.vocabulary import NO_LICENCE, Split
from pipeline.errors import PipelineError

COLUMNS = ("clip_id", "category_id", "licence", "split")


class NoPairs(PipelineError):
    """No two clips may be paired under the settings."""


class NoGivenPairs(NoPairs):
    """Given pairs are asked for, and no data set gave one."""


@dataclass(frozen=True)
class GivenPair:
    """A pair that a data set names itself (VAP-Data), scored 0-100 by how well the two effects agree."""

    target: str
    reference: str
    score: float | None = None


class PairSettings(BaseModel):
    """What may be paired, and how often.

    Attributes:
        temperature: a category of n clips is drawn in proportion to n ** temperature (1 by size, 0 uniform).
        licences: only clips of these licences; None takes all, an unstated licence is named "unknown".
        use_given: what becomes of pairs that a data set names itself. `off`: nothing, every pair is random.
            `only`: they are the only ones. `join`: a clip that is paired by its data set is drawn with those
            references alone, any other clip with a random one of its category.
        min_alignment: given pairs need at least this score; a pair without a score passes. A clip whose
            given pairs all score less is no target, not of a random reference either.
        held_out_categories: categories that never enter a plan (kept for zero-shot evaluation). A plan takes
            their ids, a stream any of their names.
        splits: the clips' splits that may be used.
        caption_dropout: probability that a sample trains with the empty caption.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(1.0, ge=0.0, le=4.0)
    licences: tuple[str, ...] | None = None
    use_given: Literal["off", "only", "join"] = "off"
    min_alignment: float | None = None
    held_out_categories: tuple[str, ...] = ()
    splits: tuple[Split, ...] = Field((Split.TRAIN,), min_length=1)
    seed: int = Field(0, ge=0)
    caption_dropout: float = Field(0.1, ge=0.0, le=1.0)


@dataclass(frozen=True)
class Pair:
    """One sample: the clip to denoise, the clip that shows the effect, its category, and a seed.

    `further_ids` are more references of the target, where a method takes several.
    """

    target_id: str
    reference_id: str
    category: str
    seed: int
    further_ids: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PairPlan:
    """Every sample of every epoch.

    Attributes:
        clip_ids: usable clips, sorted, [n]; `category_ids` of each.
        targets: indices into clip_ids of the clips that can be a target, [t].
        groups: category number of each target, [t].
        references: indices into clip_ids; those possible for target t are references[first[t]:last[t]].
        counts: `clips`, `targets`, `categories`, `given` (usable given pairs), and how many clips or given
            pairs each reason left out.
        lonely_categories: categories of a single usable clip, which cannot pair.
    """

    clip_ids: np.ndarray
    category_ids: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    references: np.ndarray
    first: np.ndarray
    last: np.ndarray
    settings: PairSettings
    counts: dict[str, int] = field(compare=False)
    lonely_categories: tuple[str, ...] = field(compare=False, default=())

    @classmethod
    def alone(cls, clips: pa.Table | Mapping[str, Sequence], settings: PairSettings) -> "PairPlan":
        """A plan in which every clip is its own reference, whatever its category, none too.

        A clip without a split trains as well: nobody has said anything against it.

        Args, Raises: see `build`.
        """
        columns = {name: _strings(clips[name]) for name in COLUMNS}
        keep, counts = _usable(columns, settings, alone=True)
        order = np.argsort(columns["clip_id"][keep], kind="stable")
        clip_ids, category_ids = (columns[name][keep][order] for name in ("clip_id", "category_id"))
        if not len(clip_ids):
            raise NoPairs(f"No clip can teach ({_reasons(counts)}). Relax the pair settings.")
        own = np.arange(len(clip_ids))
        groups = np.unique(category_ids, return_inverse=True)[1]
        counts |= {"targets": len(own), "categories": len(set(category_ids) - {""})}
        return cls(clip_ids, category_ids, own, groups, own, own, own + 1, settings, counts)

    @classmethod
    def build(
        cls, clips: pa.Table | Mapping[str, Sequence], settings: PairSettings, given: Sequence[GivenPair] = ()
    ) -> "PairPlan":
        """Plan pairs over a table of clips (clip_id, category_id, licence, split), its rows in any order.

        Args:
            given: pairs that data sets name; not looked at where `settings.use_given` is off.

        Raises:
            NoGivenPairs: given pairs are asked for and there are none.
            NoPairs: nothing is left to pair; the message counts what was left out and why.
        """
        columns = {name: _strings(clips[name]) for name in COLUMNS}
        keep, counts = _usable(columns, settings)
        order = np.argsort(columns["clip_id"][keep], kind="stable")
        clip_ids = columns["clip_id"][keep][order]
        category_ids = columns["category_id"][keep][order]
        names, category = np.unique(category_ids, return_inverse=True)
        sizes = np.bincount(category, minlength=len(names))
        candidates = _same_category(category, sizes)
        if settings.use_given != "only":
            counts["lonely"] = int((sizes == 1).sum())
        if settings.use_given != "off":
            pairs, refused = _given(clip_ids, category, settings, given, counts)
            candidates = _joined(pairs, refused, candidates if settings.use_given == "join" else None)
        targets, references, first, last = candidates
        if not len(targets):
            raise NoPairs(_nothing_left(counts, settings))
        groups = np.unique(category[targets], return_inverse=True)[1]
        counts |= {"targets": len(targets), "categories": int(groups.max()) + 1}
        lonely = tuple(str(name) for name in names[sizes == 1])
        return cls(clip_ids, category_ids, targets, groups, references, first, last, settings, counts, lonely)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that train, sorted."""
        return tuple(name for name in np.unique(self.category_ids[self.targets]).tolist() if name)

    @property
    def epoch_size(self) -> int:
        """Samples in an epoch: as many as there are targets."""
        return len(self.targets)

    def pair(self, n: int) -> Pair:
        """Sample number `n` >= 0."""
        return self.pairs([n])[0]

    def pairs(self, numbers: Iterable[int], references: int = 1) -> list[Pair]:
        """The samples of these numbers, in their order, with so many references each.

        The first reference is the same whatever their number; of fewer candidates than that some come again.
        """
        samples = []
        for n in numbers:
            epoch, position = divmod(int(n), self.epoch_size)
            target, reference, seed, drawn = _epoch(self, epoch)
            shown = reference[position]
            samples.append(
                Pair(
                    str(self.clip_ids[target[position]]),
                    str(self.clip_ids[shown]),
                    str(self.category_ids[shown]),
                    int(seed[position]),
                    self._further(int(drawn[position]), shown, int(seed[position]), references - 1),
                )
            )
        return samples

    def _further(self, target: int, shown: int, seed: int, count: int) -> tuple[str, ...]:
        """References of a target beside the one that is shown, each once before any comes again."""
        if count < 1:
            return ()
        candidates = self.references[self.first[target] : self.last[target]]
        others = np.random.default_rng(seed).permutation(candidates[candidates != shown])
        return tuple(str(self.clip_ids[clip]) for clip in np.resize([*others, shown], count))

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One epoch: targets and references (indices into clip_ids), seeds (int64), and which of `targets`
        each is, all [epoch_size]."""
        rng = np.random.default_rng([self.settings.seed, epoch])
        drawn = _draw_targets(self.groups, self.settings.temperature, rng)
        picked = self.references[rng.integers(self.first[drawn], self.last[drawn])]
        seeds = rng.integers(0, np.iinfo(np.int64).max, size=len(drawn), dtype=np.int64)
        return self.targets[drawn], picked, seeds, drawn


@lru_cache(maxsize=4)
def _epoch(plan: PairPlan, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return plan.epoch(epoch)


def _strings(column: pa.ChunkedArray | Sequence) -> np.ndarray:
    values = column.to_pylist() if hasattr(column, "to_pylist") else column
    return np.array(["" if value is None else str(value) for value in values], dtype=np.str_)


def _usable(
    columns: dict[str, np.ndarray], settings: PairSettings, alone: bool = False
) -> tuple[np.ndarray, dict[str, int]]:
    """Which rows may be used, bool [n], and how many fell to each rule, each row to the first it breaks.

    A clip that trains `alone` needs neither a category nor a split.
    """
    splits = (*settings.splits, "") if alone else settings.splits
    licence = np.where(columns["licence"] == "", NO_LICENCE, columns["licence"])
    rules = {
        "uncategorised": True if alone else columns["category_id"] != "",
        "held_out": ~np.isin(columns["category_id"], settings.held_out_categories),
        "out_of_domain": ~out_of_domain(columns["category_id"], columns["split"]),
        "other_split": np.isin(columns["split"], splits),
        "other_licence": np.isin(licence, settings.licences) if settings.licences is not None else True,
    }
    keep = np.ones(len(licence), dtype=bool)
    counts = {"clips": len(licence)}
    for reason, passes in rules.items():
        counts[reason] = int((keep & ~np.broadcast_to(passes, keep.shape)).sum())
        keep &= passes
    return keep, counts


def out_of_domain(category_ids: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Whether each clip is of a category that is out of domain, bool [n]: one with any clip of that split.

    Such a category never trains, whatever the settings say and whatever else came into it.
    """
    return np.isin(category_ids, np.unique(category_ids[splits == Split.OOD]))


def _same_category(category: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, ...]:
    """Targets, and for each all other clips of its category: (targets, references, first, last).

    The members of a category of n stand twice in a row in `references`; the n - 1 entries after member i are
    its candidates. So a category costs 2n entries, not n².
    """
    clips = np.argsort(category, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rings = [np.tile(clips[a:b], 2) for a, b in pairwise(starts)]
    size = sizes[category[clips]]
    first = np.arange(len(clips)) + starts[category[clips]] + 1
    pairable = size > 1
    references = np.concatenate(rings) if rings else clips
    return clips[pairable], references, first[pairable], (first + size - 1)[pairable]


def _given(
    clip_ids: np.ndarray,
    category: np.ndarray,
    settings: PairSettings,
    given: Sequence[GivenPair],
    counts: dict[str, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Usable given pairs as sorted indices (target, reference) [p, 2], and targets of low scores only [r]."""
    if not given:
        raise NoGivenPairs(
            f"`pairs.use_given` is {settings.use_given!r}, and no data set gave pairs of this catalogue. "
            "Ingest one that does (VAP-Data), or set `pairs.use_given=off`."
        )
    index = {str(clip): i for i, clip in enumerate(clip_ids)}
    floor = -np.inf if settings.min_alignment is None else settings.min_alignment
    pairs, low = set(), set()
    for reason in ("given_missing", "given_low_score", "given_same_clip", "given_other_category"):
        counts[reason] = 0
    for pair in given:
        target, reference = index.get(pair.target), index.get(pair.reference)
        if target is None or reference is None:
            counts["given_missing"] += 1
        elif pair.score is not None and pair.score < floor:
            counts["given_low_score"] += 1
            low.add(target)
        elif target == reference:
            counts["given_same_clip"] += 1
        elif category[target] != category[reference]:
            counts["given_other_category"] += 1
        else:
            pairs.add((target, reference))
    counts["given"] = len(pairs)
    refused = sorted(low - {target for target, _ in pairs})
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2), np.array(refused, dtype=np.int64)


def _joined(
    pairs: np.ndarray, refused: np.ndarray, others: tuple[np.ndarray, ...] | None
) -> tuple[np.ndarray, ...]:
    """Targets of the given pairs and their references, (targets, references, first, last), and those of
    `others` for targets that are neither given a reference nor refused."""
    targets, first, size = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    given = (targets, pairs[:, 1], first, first + size)
    if others is None:
        return given
    free = ~np.isin(others[0], np.concatenate([targets, refused]))
    kept = (others[0][free], others[1], others[2][free] + len(pairs), others[3][free] + len(pairs))
    return tuple(np.concatenate(both) for both in zip(given, kept, strict=True))


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')}: {n}" for reason, n in counts.items() if n) or "no clips"


def _nothing_left(counts: dict[str, int], settings: PairSettings) -> str:
    told = f"No two clips can be paired ({_reasons(counts)})."
    if settings.use_given == "only":
        return (
            f"{told} A given pair needs two usable clips of one category and a score not below "
            "`pairs.min_alignment`; `pairs.use_given=join` pairs the other clips at random."
        )
    return (
        f"{told} A category needs two usable clips. "
        "Add clips, run `video2lora cluster`, or relax the pair settings."
    )


def _draw_targets(groups: np.ndarray, temperature: float, rng: np.random.Generator) -> np.ndarray:
    """Positions of one epoch's targets in random order, as many as there are targets.

    A category of n gets its share n ** temperature of the draws, the fractions rounded by one random offset
    (systematic sampling: less than one draw away from the share). Within a category the draws go round its
    members: at temperature 1 each target comes exactly once, at any other their counts differ by at most one.
    """
    sizes = np.bincount(groups)
    shares = sizes.astype(np.float64) ** temperature
    # Rounded first: at temperature 1 the shares are whole numbers and must not lose a draw to the last bit.
    bounds = np.round(np.cumsum(shares) * (len(groups) / shares.sum()), 6)
    ends = np.floor(bounds + rng.random() * (1 - 1e-6)).astype(np.int64)
    ends[-1] = len(groups)
    quotas = np.diff(ends, prepend=0)
    order = rng.permutation(len(groups))
    by_group = order[np.argsort(groups[order], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    within = np.arange(len(groups)) - np.repeat(ends - quotas, quotas)
    group = np.repeat(np.arange(len(sizes)), quotas)
    drawn = by_group[starts[group] + within % sizes[group]]
    return rng.permutation(drawn)
