"""Clips that are sorted once more when it is known what else they may be."""

import numpy as np

from catalog.vocabulary import CategorySource
from pipeline.curation.membership import Clip, ClusterSettings, by_nearest
from pipeline.curation.thresholds import Threshold

BEFORE = {"category_id": None, "category_source": None, "category_confidence": None, "split": None}


def clip(
    name: str, degrees: float, category: str | None = None, source: CategorySource | None = None
) -> Clip:
    """A clip whose vector points so far from the first axis towards the second."""
    turn = np.deg2rad(degrees)
    made = Clip(name, name, None, np.array([np.cos(turn), np.sin(turn), 0.0]), dict(BEFORE))
    made.category_id, made.source = category, source
    return made


def test_a_clip_goes_to_what_it_is_nearest_to_once_there_are_proposals_and_stays_where_there_are_none():
    group = [clip(f"new-{n}", 60 + n, "cluster-001", CategorySource.PROPOSED) for n in range(5)]
    taken = clip("taken", 40, "melt", CategorySource.ASSIGNED)
    short = clip("short", 25)
    labelled = clip("labelled", 61, "melt", CategorySource.LABEL)
    far = Clip("far", "far", None, np.array([0.0, 0.0, 1.0]), dict(BEFORE))
    clips = [*group, taken, short, labelled, far]
    known, limits = {"melt": np.array([1.0, 0.0, 0.0])}, {"melt": Threshold(0.95)}

    assert by_nearest(clips, known, limits, {}, ClusterSettings()) == {}
    assert (taken.category_id, short.category_id) == ("melt", None)

    kept = by_nearest(clips, known, limits, {"cluster-001": group}, ClusterSettings())
    assert (taken.category_id, taken.source) == ("cluster-001", CategorySource.PROPOSED)
    assert (short.category_id, short.source) == ("melt", CategorySource.ASSIGNED)
    assert (labelled.category_id, far.category_id) == ("melt", None)
    assert {each.clip_id for each in kept["cluster-001"]} == {"taken", *(each.clip_id for each in group)}


def test_a_proposal_that_loses_its_clips_to_a_category_is_given_up():
    group = [clip(f"near-{n}", n, "cluster-001", CategorySource.PROPOSED) for n in range(4)]
    group.append(clip("left", 80, "cluster-001", CategorySource.PROPOSED))
    known, limits = {"melt": np.array([1.0, 0.0, 0.0])}, {"melt": Threshold(0.9)}
    assert by_nearest(group, known, limits, {"cluster-001": group}, ClusterSettings()) == {}
    assert [each.category_id for each in group] == ["melt"] * 4 + [None]
    assert "fell apart" in group[-1].reason
