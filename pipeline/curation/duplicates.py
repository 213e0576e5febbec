"""Which clips show the same video: matched on perceptual hashes, found without comparing every two.

Re-encoding and resizing change a few bits of a hash, mirroring changes known ones, trimming moves the hashes
in time. Pure functions of arrays; `dedup.py` brings them to a catalogue.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.video.quality import GRID, ODD_COLUMNS

# A hash of a flat picture says nothing.
_SAYS_NOTHING = 0
# Pictures this many bits apart may be the same: they propose how two clips lie in time.
_ALIKE = 12
_OFFSETS_TRIED = 6
# Mean bits that even two copies of a still may differ by.
_STILL = 0.5
# In a crowded bucket (everybody's black title) an entry meets only so many neighbours.
_CROWD = 32
# So many parts of a picture make a difference.
_PARTS = 3
# A clip with fewer distinct hashes hardly moves.
_VARIED = 8


class DuplicateSettings(BaseModel):
    """What counts as the same video.

    Attributes:
        mean_bits: mean distance of aligned hashes, of 64 bits, that two copies may have; less for clips whose
            own frames are nearer to each other, because there it says only that the scene is the same.
        worst_bits: distance that nine tenths of the aligned hashes must keep: another effect on the same
            scene begins alike and then goes elsewhere.
        overlap: share of the shorter clip's time that must lie in the other.
        min_hashes: aligned hashes that must say something.
        colours: difference (0-255) in brightness or colour that the most different parts of two copies may
            have. Another colour, neon or style is another effect, however alike the shapes are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean_bits: float = Field(7.0, ge=0, le=32)
    worst_bits: float = Field(12.0, ge=0, le=64)
    overlap: float = Field(0.7, gt=0, le=1)
    min_hashes: int = Field(5, ge=1)
    colours: float = Field(6.0, ge=0, le=255)


@dataclass(frozen=True)
class Signature:
    """A clip's hashes: `times` [n] in seconds, ascending, `words` uint64 [n]; and of the same frames
    `colours` [n, rows, columns, 3], or None for a clip that an older release stored.

    Clips of one `content` (windows of one file) are never copies of each other.
    """

    times: np.ndarray
    words: np.ndarray
    content: str
    colours: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        words: Sequence[int],
        start: float,
        end: float,
        content: str,
        colours: Sequence[int] | None = None,
    ) -> "Signature":
        """The signature of hashes spread evenly over the window from `start` to `end` seconds."""
        seen = np.asarray(colours, dtype=np.float32) if colours and len(words) else None
        if seen is not None:
            seen = seen.reshape(len(words), *GRID, 3)
        times = np.linspace(start, end, len(words))
        return cls(times, np.asarray(words, dtype=np.uint64), content, seen)

    def mirrored(self) -> "Signature":
        words = np.where(self.words == _SAYS_NOTHING, self.words, self.words ^ np.uint64(ODD_COLUMNS))
        colours = None if self.colours is None else self.colours[:, :, ::-1]
        return Signature(self.times, words, self.content, colours)

    def backwards(self) -> "Signature":
        """Of the clip as it plays from its end to its beginning."""
        colours = None if self.colours is None else self.colours[::-1]
        times = (self.times[0] + self.times[-1] - self.times)[::-1]
        return Signature(times, self.words[::-1], self.content, colours)


@dataclass(frozen=True)
class Match:
    """Two clips that show the same; `bits` is their mean distance, `mirrored` whether one is turned round."""

    one: int
    other: int
    bits: float
    mirrored: bool


@dataclass(frozen=True)
class Found:
    """Every two clips that show the same video, and every two of which one shows the other backwards: two
    effects (shatter, assemble), which are never one. By their numbers, the lower first."""

    copies: list[Match]
    backwards: list[Match]


def find_matches(signatures: Sequence[Signature], settings: DuplicateSettings) -> Found:
    """Compare all clips that may show the same."""
    copies: dict[tuple[int, int], Match] = {}
    backwards: dict[tuple[int, int], Match] = {}
    for one, other, turned in candidates(signatures):
        first, second = signatures[one], signatures[other]
        if first.content == second.content:
            continue
        first = first.mirrored() if turned else first
        for found, looked in ((copies, first), (backwards, first.backwards())):
            bits = distance(looked, second, settings)
            known = found.get((one, other))
            if bits is not None and (known is None or bits < known.bits):
                found[one, other] = Match(one, other, bits, turned)
    # What looks the same both ways (a still, a loop) is a copy.
    return Found(
        [copies[key] for key in sorted(copies)],
        [backwards[key] for key in sorted(backwards.keys() - copies.keys())],
    )


def candidates(signatures: Sequence[Signature]) -> Iterator[tuple[int, int, bool]]:
    """Pairs (one, other, mirrored) worth comparing, one < other: they share half of some hash's bits.

    Locality-sensitive hashing: a word is cut into four blocks, and two words meet when any two blocks are
    equal. Two flipped bits are always forgiven, six in one word of eleven; a clip has 25 words.
    """
    owners, words = [], []
    for number, signature in enumerate(signatures):
        distinct = np.unique(signature.words[signature.words != _SAYS_NOTHING])
        owners.append(np.full(len(distinct), number, dtype=np.int64))
        words.append(distinct)
    if not owners:
        return
    plain, word = np.concatenate(owners), np.concatenate(words)
    # A mirrored clip is entered under a negative number.
    owner = np.concatenate([plain, -1 - plain])
    word = np.concatenate([word, word ^ np.uint64(ODD_COLUMNS)])
    blocks = word.view(np.uint16).reshape(-1, 4).astype(np.uint32)
    met = []
    for first, second in combinations(range(4), 2):
        key = blocks[:, first] << np.uint32(16) | blocks[:, second]
        met.append(_meetings(key, word, owner))
    # One picture in common is a title card, unless a clip hardly has another.
    pairs, times = np.unique(np.unique(np.concatenate(met), axis=0)[:, :3], axis=0, return_counts=True)
    varied = np.bincount(plain, minlength=len(signatures)) >= _VARIED
    for (one, other, turned), common in zip(pairs.tolist(), times.tolist(), strict=True):
        if common > 1 or not (varied[one] and varied[other]):
            yield one, other, bool(turned)


def _meetings(key: np.ndarray, word: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Rows (one, other, mirrored, which word of `one`) for entries with the same key."""
    order = np.lexsort((word, key))
    key, owner, entry = key[order], owner[order], order % (len(order) // 2)
    met = [np.empty((0, 4), dtype=np.int64)]
    for step in range(1, min(_CROWD, len(key) - 1) + 1):
        same = np.flatnonzero(key[:-step] == key[step:])
        if not len(same):
            break
        left, right = owner[same], owner[same + step]
        one, other = np.where(left < 0, -1 - left, left), np.where(right < 0, -1 - right, right)
        # Both mirrored is both plain, and is found there.
        useful = (one != other) & ((left >= 0) | (right >= 0))
        turned = (left < 0) != (right < 0)
        of_lower = np.where(one < other, entry[same], entry[same + step])
        rows = [np.minimum(one, other), np.maximum(one, other), turned, of_lower]
        met.append(np.stack(rows, axis=1)[useful])
    return np.concatenate(met)


def distance(one: Signature, other: Signature, settings: DuplicateSettings) -> float | None:
    """Mean bits between the hashes of two clips laid over each other in time; None when they do not match.

    The offsets tried are those that most pairs of similar pictures propose.
    """
    short, long = sorted((one, other), key=lambda signature: signature.times[-1] - signature.times[0])
    bits = np.bitwise_count(short.words[:, None] ^ long.words[None, :]).astype(np.float64)
    silent = (short.words == _SAYS_NOTHING)[:, None] | (long.words == _SAYS_NOTHING)[None, :]
    alike = (bits <= _ALIKE) & ~silent
    if not alike.any():
        return None
    step = max(_spacing(long), _spacing(short), 1e-3)
    shifts = (long.times[None, :] - short.times[:, None])[alike]
    places, votes = np.unique(np.round(2 * shifts / step), return_counts=True)
    best = None
    for place in places[np.argsort(-votes, kind="stable")[:_OFFSETS_TRIED]]:
        found = _laid_over(short, long, bits, silent, place * step / 2, settings)
        if found is not None and (best is None or found < best):
            best = found
    return best


def _laid_over(short, long, bits, silent, shift: float, settings: DuplicateSettings) -> float | None:
    at = short.times + shift
    step = max(_spacing(long), 1e-3)
    inside = (at >= long.times[0] - step / 2) & (at <= long.times[-1] + step / 2)
    lasts = max(short.times[-1] - short.times[0], 1e-3)
    shared = min(at[-1], long.times[-1]) - max(at[0], long.times[0])
    if shared < settings.overlap * lasts - step / 2:
        return None
    # A picture lies between two of the other's hashes, and is as near as the nearer of them.
    after = np.clip(np.searchsorted(long.times, at), 0, len(long.times) - 1)
    before = np.maximum(after - 1, 0)
    rows = np.flatnonzero(inside)
    near = np.minimum(bits[rows, before[rows]], bits[rows, after[rows]])
    near = near[~(silent[rows, before[rows]] | silent[rows, after[rows]])]
    if len(near) < settings.min_hashes:
        return None
    mean, worst = float(near.mean()), float(np.quantile(near, 0.9))
    allowed = min(settings.mean_bits, max(_STILL, min(_travel(short), _travel(long))))
    if mean > allowed or worst > settings.worst_bits:
        return None
    return mean if _recoloured(short, long, at, rows) <= settings.colours else None


def _recoloured(short: Signature, long: Signature, at: np.ndarray, rows: np.ndarray) -> float:
    """How far the most different parts of two clips are apart in brightness or colour, on average over time.

    Args:
        at: times of the short clip's pictures on the long one's clock.
        rows: which of them lie in both.
    """
    if short.colours is None or long.colours is None:
        return 0.0
    # Between two of the other's pictures the colours are between theirs.
    place = np.interp(at[rows], long.times, np.arange(len(long.times)))
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(long.times) - 1)
    share = (place - before)[:, None, None, None]
    between = long.colours[before] * (1 - share) + long.colours[after] * share
    parts = np.abs(short.colours[rows] - between).mean(axis=0).max(axis=-1)
    return float(np.sort(parts, axis=None)[-_PARTS:].mean())


def _travel(signature: Signature) -> float:
    """Mean bits between any two of a clip's own pictures: how much there is to tell it by."""
    words = signature.words
    return float(np.bitwise_count(words[:, None] ^ words[None, :]).mean())


def _spacing(signature: Signature) -> float:
    times = signature.times
    return float(times[-1] - times[0]) / max(1, len(times) - 1)


def groups_of(count: int, matches: Sequence[Match]) -> list[list[int]]:
    """Clips joined by matches, directly or through others (union-find); only groups of two and more."""
    parent = list(range(count))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for match in matches:
        one, other = root(match.one), root(match.other)
        parent[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for number in sorted({number for match in matches for number in (match.one, match.other)}):
        groups.setdefault(root(number), []).append(number)
    return list(groups.values())


def kept_for(group: Sequence[int], matches: Sequence[Match], rank: Sequence) -> dict[int, int]:
    """Which clip of a group is kept for each one that is a copy of a better one.

    From the best on, a clip that matches none of those kept is kept itself: two ends of one long video that a
    third clip joins are not copies of each other.

    Args:
        rank: by number, what sorts the better clip first.
    """
    members = set(group)
    linked: dict[int, set[int]] = {number: set() for number in group}
    for match in matches:
        if match.one in members:
            linked[match.one].add(match.other)
            linked[match.other].add(match.one)
    kept: list[int] = []
    copies = {}
    for number in sorted(group, key=lambda number: rank[number]):
        better = next((other for other in kept if other in linked[number]), None)
        if better is None:
            kept.append(number)
        else:
            copies[number] = better
    return copies
