"""Which category a clip belongs to: decided from labels, people, prototypes and clusters."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from catalog.vocabulary import CategorySource, CategoryState
from pipeline.curation.proposals import find_groups
from pipeline.curation.thresholds import Threshold, calibrate, unit_means

# By so much less a cosine is near enough where a clip's alternatives are known.
_LESS = 0.1


class ClusterSettings(BaseModel):
    """How clips without a label find a category, and who is held out.

    Attributes:
        similarity: cosine to the nearest prototype from which an unlabelled clip is assigned to it, where the
            labels are too few to calibrate it: no category has two clips, or there is one category. By
            default what half of the categories ask for when each has five labelled renders.
        min_cluster_size: clips that are needed to propose a new category.
        propose: whether to look for new categories at all.
        val_fraction: share of the clips held out for validation.
        held_out_categories: labels or category ids whose clips become the split `ood`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    similarity: float = Field(0.68, ge=-1, le=1)
    min_cluster_size: int = Field(3, ge=2)
    propose: bool = True
    val_fraction: float = Field(0.1, ge=0, lt=1)
    held_out_categories: tuple[str, ...] = ()


@dataclass
class Clip:
    """One accepted clip while its category is being decided.

    `at_odds` are the categories that its sources name, where they name several: a person has to say which.
    `text` is what a name may be suggested from.
    """

    clip_id: str
    stratum: str
    label: str | None
    vector: np.ndarray | None
    before: dict
    at_odds: tuple[str, ...] = ()
    text: str = ""
    category_id: str | None = None
    source: CategorySource | None = None
    confidence: float | None = None
    reason: str | None = None

    def decide(self, category_id: str, source: CategorySource, confidence: float) -> None:
        self.category_id, self.source = category_id, source
        # Rounded so that a second run on another machine writes nothing new.
        self.confidence = round(float(confidence), 4)


def by_label_or_person(clips: list[Clip], known: dict[str, dict]) -> None:
    for clip in clips:
        before = clip.before
        adopted = known.get(before["category_id"] or "", {}).get("state") == CategoryState.ACTIVE
        if before["category_source"] == CategorySource.HUMAN and before["category_id"]:
            confidence = before["category_confidence"]
            clip.decide(
                before["category_id"], CategorySource.HUMAN, 1.0 if confidence is None else confidence
            )
        elif clip.label:
            clip.decide(clip.label, CategorySource.LABEL, 1.0)
        elif clip.at_odds:
            clip.reason = f"Its sources call it {' and '.join(clip.at_odds)}; a person has to say which."
        elif before["category_source"] == CategorySource.PROPOSED and adopted:
            # A person has made the proposal a category: its members found it, they are not proposed anew.
            clip.decide(before["category_id"], CategorySource.PROPOSED, before["category_confidence"] or 1.0)


def prototypes(clips: list[Clip]) -> dict[str, np.ndarray]:
    """Unit vectors by category: the mean of the founding members' vectors."""
    founders = _founders(clips)
    names = sorted({clip.category_id for clip in founders})
    if not founders:
        return {}
    means, _ = unit_means(*_arrays(founders, names), len(names))
    return dict(zip(names, means, strict=True))


def thresholds(clips: list[Clip], settings: ClusterSettings) -> dict[str, Threshold]:
    """How near to each prototype is near enough; see `calibrate`."""
    founders = _founders(clips)
    names = sorted({clip.category_id for clip in founders})
    if not founders:
        return {}
    return calibrate(*_arrays(founders, names), names, settings.similarity)


def nearness(thresholds: dict[str, Threshold], settings: ClusterSettings) -> float:
    """How near is near enough for a category that has no labels yet: what half of the others ask for."""
    return float(np.median([limit.similarity for limit in thresholds.values()] or [settings.similarity]))


def by_prototype(
    clips: list[Clip], prototypes: dict[str, np.ndarray], thresholds: dict[str, Threshold]
) -> None:
    """Assign a clip to the nearest prototype where that is near enough."""
    open_clips = [clip for clip in clips if clip.category_id is None and not clip.at_odds]
    for clip in open_clips:
        if clip.vector is None:
            clip.reason = "It has no embedding; run `video2lora embed`."
    open_clips = [clip for clip in open_clips if clip.vector is not None]
    if not open_clips or not prototypes:
        return
    names = list(prototypes)
    known = np.stack(list(prototypes.values()))
    for clip in open_clips:
        cosines = known @ clip.vector
        nearest = int(cosines.argmax())
        name, best = names[nearest], cosines[nearest]
        wanted = thresholds[name].similarity
        if best >= wanted:
            clip.decide(name, CategorySource.ASSIGNED, best)
        else:
            clip.reason = f"No category is near enough: {name} at {best:.2f}, which asks for {wanted:.2f}."


def by_cluster(
    clips: list[Clip], known: dict[str, dict], settings: ClusterSettings, near: float
) -> dict[str, list[Clip]]:
    """Propose categories among the clips that are left; one proposed before keeps its name.

    Returns:
        the members of every proposal.
    """
    left = [c for c in clips if c.category_id is None and c.vector is not None and not c.at_odds]
    groups = find_groups(np.stack([c.vector for c in left]), settings.min_cluster_size, near) if left else []
    used = {int(key[8:]) for key in known if key.startswith("cluster-") and key[8:].isdigit()}
    number = max(used, default=0)
    proposals: dict[str, list[Clip]] = {}
    # Largest first, so that of two that share an old name the larger keeps it.
    for group in groups:
        members = [left[place] for place in group.members]
        before = [
            clip.before["category_id"]
            for clip in members
            if clip.before["category_source"] == CategorySource.PROPOSED
        ]
        votes = Counter(name for name in before if name is not None and name not in proposals)
        name = max(sorted(votes), key=lambda name: votes[name], default=None)
        if name is None or known.get(name, {}).get("state") != CategoryState.PROPOSED:
            number += 1
            name = f"cluster-{number:03d}"
        proposals[name] = members
        for clip, confidence in zip(members, group.confidence, strict=True):
            clip.decide(name, CategorySource.PROPOSED, confidence)
            clip.reason = None
    for clip in left if len(left) >= settings.min_cluster_size else ():
        if clip.category_id is None:
            clip.reason = (clip.reason or "There is no category yet.") + " It is in no cluster either."
    return proposals


def by_nearest(
    clips: list[Clip],
    prototypes: dict[str, np.ndarray],
    thresholds: dict[str, Threshold],
    proposals: dict[str, list[Clip]],
    settings: ClusterSettings,
) -> dict[str, list[Clip]]:
    """Once more for clips without a label: each goes to what it is nearest to, known or proposed.

    A clip may have been taken for a known category while its own was not proposed yet. And where its
    alternatives are known, being nearest says more than being near: a little less is enough. Without
    proposals nothing is known of what else a clip may be, and thresholds stand as they are.

    Returns:
        the members of every proposal; one that loses too many is given up.
    """
    at = {clip.clip_id: name for name, group in proposals.items() for clip in group}
    at |= {clip.clip_id: clip.category_id for clip in clips if clip.source == CategorySource.ASSIGNED}
    free = (clip for clip in clips if clip.vector is not None and not clip.at_odds)
    left = [clip for clip in free if clip.category_id is None or clip.clip_id in at]
    if not proposals or not left:
        return proposals
    sums = {name: np.sum([clip.vector for clip in group], axis=0) for name, group in proposals.items()}
    names = [*prototypes, *proposals]
    centres = np.stack([*prototypes.values(), *(_unit(total) for total in sums.values())])
    cosines = np.stack([clip.vector for clip in left]) @ centres.T
    for place, clip in enumerate(left):
        if (name := at.get(clip.clip_id)) in sums:
            # A clip is no evidence that it belongs where it is.
            cosines[place, names.index(name)] = _unit(sums[name] - clip.vector) @ clip.vector
    near = nearness(thresholds, settings)
    wanted = np.array([thresholds[name].similarity if name in prototypes else near for name in names])
    nearest, best = cosines.argmax(1), cosines.max(1)
    moved = {
        clip.clip_id: names[number]
        for clip, number, good in zip(left, nearest, best >= wanted[nearest] - _LESS, strict=True)
        if good
    }
    now = at | moved
    sizes = Counter(now.values())
    kept: dict[str, list[Clip]] = {name: [] for name in proposals if sizes[name] >= settings.min_cluster_size}
    for clip, cosine in zip(left, best, strict=True):
        name = now.get(clip.clip_id)
        if name in sums and name not in kept:
            clip.category_id = clip.source = clip.confidence = None
            clip.reason = "Its cluster fell apart: most of its clips are nearer to others than to each other."
        elif name is not None:
            if name != at.get(clip.clip_id):
                known = CategorySource.ASSIGNED if name in prototypes else CategorySource.PROPOSED
                clip.decide(name, known, cosine)
                clip.reason = None
            if name in kept:
                kept[name].append(clip)
    return kept


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _founders(clips: list[Clip]) -> list[Clip]:
    """Those that say what a category is: put there by a label or a person, or by an adopted proposal."""
    return [
        clip
        for clip in clips
        if clip.category_id and clip.source != CategorySource.ASSIGNED and clip.vector is not None
    ]


def _arrays(founders: list[Clip], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    places = {name: place for place, name in enumerate(names)}
    vectors = np.stack([clip.vector for clip in founders])
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors, np.array([places[clip.category_id] for clip in founders])
