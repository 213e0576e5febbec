"""Categories that nobody named yet."""

import numpy as np

from pipeline.curation.proposals import find_groups, samples_of, suggest_name
from tests.pipeline.curation.test_thresholds import labelled, members


def test_dense_places_become_groups_and_the_largest_is_first():
    vectors, labels = labelled((0, 8, 0.05), (1, 20, 0.05), (2, 12, 0.05))
    groups = find_groups(vectors, 5, 0.9)
    assert [set(labels[group.members]) for group in groups] == [{1}, {2}, {0}]


def test_a_clip_outside_the_dense_part_belongs_to_a_group_only_where_it_is_near():
    dense, far = members(0, 12, 0.03), members(9, 1, 0.03)
    other = members(1, 12, 0.03)
    near = dense.mean(0) + np.eye(16)[5] * 0.35
    vectors = np.concatenate([dense, other, near[None] / np.linalg.norm(near), far])
    inside = {int(place) for group in find_groups(vectors, 5, 0.85) for place in group.members}
    assert 24 in inside and 25 not in inside


def test_the_medoid_comes_first_and_the_samples_reach_to_the_edge():
    vectors = members(0, 30, 0.2)
    ids = [str(place) for place in range(30)]
    samples = samples_of(ids, vectors)
    cosines = vectors @ vectors.mean(0)
    assert samples[0] == str(cosines.argmax()) and samples[-1] == str(cosines.argmin())
    assert len(samples) == len(set(samples)) == 6


def test_a_name_is_what_the_members_say_and_others_do_not():
    inside = ["a red ball bursts", "the red cat bursts", "a dog bursts"]
    everywhere = [*inside, *["a red ball", "the dog runs"] * 10]
    assert suggest_name(inside, everywhere) == "bursts"
    assert suggest_name(["one", "two", "three"], everywhere) is None
    assert suggest_name([None, None], everywhere) is None


def test_small_categories_are_proposed_apart_and_large_ones_whole():
    for size in (3, 12):
        vectors, labels = labelled(*((axis, size, 0.08) for axis in range(10)))
        groups = find_groups(vectors, 3, 0.9)
        assert sorted(tuple(set(labels[group.members])) for group in groups) == [(n,) for n in range(10)], (
            size
        )
