"""Which clips train, validate, or are kept for effects never seen: a stable function of what a clip is."""

import hashlib
from collections.abc import Iterable, Set
from typing import Protocol

from catalog.vocabulary import Split

# Fewer training clips than this and a category cannot make one pair.
PAIRABLE = 2


class Placed(Protocol):
    """A clip with its category; clips of one stratum (windows of one video, near duplicates) go together."""

    clip_id: str
    stratum: str
    category_id: str | None


def split_of(clips: Iterable[Placed], held_out: Set[str], val_fraction: float) -> dict[str, Split]:
    """Split by clip id.

    A held-out category is `ood` as a whole. Of the others a clip is `val` when the hash of its stratum falls
    below `val_fraction`, so a clip never changes sides because others came; only a category that would be
    left with fewer than two training clips gives its validation clips back.
    """
    splits, categories = {}, {}
    for clip in clips:
        if clip.category_id in held_out:
            splits[clip.clip_id] = Split.OOD
            continue
        splits[clip.clip_id] = Split.VAL if _fraction(clip.stratum) < val_fraction else Split.TRAIN
        categories.setdefault(clip.category_id, []).append(clip)
    for members in categories.values():
        if sum(splits[clip.clip_id] == Split.TRAIN for clip in members) < PAIRABLE:
            splits |= {clip.clip_id: Split.TRAIN for clip in members}
    return splits


def _fraction(text: str) -> float:
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=b"split").digest()
    return int.from_bytes(digest, "big") / 2**64
