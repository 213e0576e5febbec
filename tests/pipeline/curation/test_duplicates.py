import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.curation.duplicates import (
    DuplicateSettings,
    Match,
    Signature,
    find_matches,
    groups_of,
    kept_for,
)
from pipeline.video.quality import mirrored_hash

SETTINGS = DuplicateSettings()


def words(seed: int, count: int = 25) -> np.ndarray:
    """Hashes of a video that changes slowly: each frame a few bits from the one before."""
    rng = np.random.default_rng(seed)
    found = [int(rng.integers(2**63))]
    for _ in range(count - 1):
        found.append(found[-1] ^ (1 << int(rng.integers(64))) ^ (1 << int(rng.integers(64))))
    return np.asarray(found, dtype=np.uint64)


def flipped(hashes: np.ndarray, bits: int, seed: int = 9) -> np.ndarray:
    """As a weak copy has them: `bits` bits of every hash are others."""
    rng = np.random.default_rng(seed)
    masks = [sum(1 << int(b) for b in rng.choice(64, bits, replace=False)) for _ in hashes]
    return hashes ^ np.asarray(masks, dtype=np.uint64)


def clip(hashes, start: float = 0.0, end: float = 6.0, content: str | None = None) -> Signature:
    return Signature.of(hashes, start, end, content or str(hash(tuple(int(h) for h in hashes))))


def pairs(*clips: Signature) -> set[tuple[int, int]]:
    return {(match.one, match.other) for match in find_matches(clips, SETTINGS).copies}


def test_a_re_encoded_copy_is_found_among_others():
    others = [clip(words(seed)) for seed in range(20, 60)]
    assert pairs(clip(words(1)), *others, clip(flipped(words(1), 3))) == {(0, 41)}


def test_a_mirrored_copy_is_found_and_said_to_be_one():
    turned = np.asarray([mirrored_hash(int(word)) for word in flipped(words(1), 2)], dtype=np.uint64)
    (match,) = find_matches([clip(words(1)), clip(turned)], SETTINGS).copies
    assert match.mirrored
    assert match.bits == pytest.approx(2, abs=0.5)


def test_a_trimmed_copy_is_found_wherever_it_was_cut():
    whole = words(1, 49)
    original = clip(whole[::2], 0, 12)
    for first, last in ((0, 24), (10, 34), (24, 48)):
        # The copy's clock starts at zero, and its 25 hashes lie denser than the original's.
        copy = clip(flipped(whole[first : last + 1], 1), 0, (last - first) / 4)
        assert pairs(original, copy) == {(0, 1)}


def test_the_same_beginning_with_another_end_is_another_video():
    one, other = words(1), words(1)
    other[10:] = words(2)[10:]
    assert pairs(clip(one), clip(other)) == set()


def test_two_still_clips_of_one_scene_are_not_taken_for_copies():
    one, other = np.repeat(words(1)[:1], 25), np.repeat(flipped(words(1)[:1], 2), 25)
    assert pairs(clip(one), clip(other)) == set()
    assert pairs(clip(one), clip(one.copy(), end=6.1, content="another")) == {(0, 1)}


def test_windows_of_one_file_are_never_copies_of_each_other():
    assert pairs(clip(words(1), content="file"), clip(words(1), 6, 12, content="file")) == set()


def test_flat_pictures_prove_nothing():
    black = np.zeros(25, dtype=np.uint64)
    assert pairs(clip(black), clip(black, end=5.0)) == set()


def test_a_crowd_of_clips_with_one_common_picture_is_compared_in_bounded_time():
    title = words(7, 1)[0]
    crowd = []
    for seed in range(100, 600):
        hashes = words(seed)
        hashes[0] = title
        crowd.append(clip(hashes))
    assert pairs(*crowd, clip(flipped(words(100), 1))) == {(0, 500)}


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda p: p[0] < p[1]), max_size=15))
def test_no_two_kept_clips_of_a_group_match_and_every_copy_matches_the_one_kept_for_it(edges):
    matches = [Match(one, other, 0.0, False) for one, other in sorted(edges)]
    rank = list(range(10, 0, -1))
    for group in groups_of(10, matches):
        copies = kept_for(group, matches, rank)
        kept = set(group) - set(copies)
        assert not any((a, b) in edges for a in kept for b in kept)
        for copy, better in copies.items():
            assert better in kept
            assert tuple(sorted((copy, better))) in edges
            assert rank[better] < rank[copy]


def test_groups_join_clips_through_others():
    matches = [Match(0, 1, 0.0, False), Match(1, 4, 0.0, False), Match(2, 3, 0.0, False)]
    assert groups_of(6, matches) == [[0, 1, 4], [2, 3]]


def test_a_video_backwards_is_another_effect_and_a_loop_is_a_copy():
    forwards, others = words(1), [clip(words(seed)) for seed in range(20, 40)]
    backwards = [clip(flipped(forwards, 2)[::-1]), clip([mirrored_hash(int(w)) for w in forwards[::-1]])]
    found = find_matches([clip(forwards), *others, *backwards], SETTINGS)
    assert {(m.one, m.other, m.mirrored) for m in found.backwards} == {(0, 21, False), (0, 22, True)}
    assert not {(0, 21), (0, 22)} & {(m.one, m.other) for m in found.copies}
    loop = np.concatenate([forwards[:13], forwards[11::-1]])
    found = find_matches([clip(loop), clip(flipped(loop, 2)[::-1])], SETTINGS)
    assert [(m.one, m.other) for m in found.copies] == [(0, 1)]
    assert not found.backwards
