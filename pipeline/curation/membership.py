"""Which category a clip belongs to: decided from labels, people, prototypes and clusters."""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from catalog.vocabulary import CategorySource, CategoryState


class ClusterSettings(BaseModel):
    """How clips without a label find a category, and who is held out.

    Attributes:
        similarity: cosine to the nearest prototype from which an unlabelled clip may be assigned to it.
        margin: by how much that prototype must be nearer than the second.
        min_cluster_size: clips that are needed to propose a new category.
        propose: whether to look for new categories at all.
        val_fraction: share of the clips held out for validation.
        held_out_categories: labels or category ids whose clips become the split `ood`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    similarity: float = Field(0.75, ge=-1, le=1)
    margin: float = Field(0.05, ge=0, le=2)
    min_cluster_size: int = Field(5, ge=2)
    propose: bool = True
    val_fraction: float = Field(0.1, ge=0, lt=1)
    held_out_categories: tuple[str, ...] = ()


@dataclass
class Clip:
    """One accepted clip while its category is being decided.

    `at_odds` are the categories that its sources name, where they name several: a person has to say which.
    """

    clip_id: str
    stratum: str
    label: str | None
    vector: np.ndarray | None
    before: dict
    at_odds: tuple[str, ...] = ()
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
    members: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        if clip.category_id and clip.source != CategorySource.ASSIGNED and clip.vector is not None:
            members.setdefault(clip.category_id, []).append(clip.vector)
    means = {category: np.mean(vectors, axis=0) for category, vectors in sorted(members.items())}
    return {category: mean / max(np.linalg.norm(mean), 1e-12) for category, mean in means.items()}


def by_prototype(clips: list[Clip], prototypes: dict[str, np.ndarray], settings: ClusterSettings) -> None:
    """Assign a clip to the nearest prototype when that is near enough and clearly nearer than the second."""
    open_clips = [clip for clip in clips if clip.category_id is None and not clip.at_odds]
    for clip in open_clips:
        if clip.vector is None:
            clip.reason = "It has no embedding; run `video2lora embed`."
    open_clips = [clip for clip in open_clips if clip.vector is not None]
    if not open_clips or not prototypes:
        return
    names = list(prototypes)
    cosines = np.stack([clip.vector for clip in open_clips]) @ np.stack(list(prototypes.values())).T
    order = np.argsort(-cosines, axis=1, kind="stable")
    for clip, cosine, nearest in zip(open_clips, cosines, order, strict=True):
        best = cosine[nearest[0]]
        second = cosine[nearest[1]] if len(names) > 1 else -1.0
        if best < settings.similarity:
            clip.reason = f"No category is near enough: {names[nearest[0]]} at {best:.2f}."
        elif best - second < settings.margin:
            clip.reason = f"{names[nearest[0]]} and {names[nearest[1]]} are equally near, at {best:.2f}."
        else:
            clip.decide(names[nearest[0]], CategorySource.ASSIGNED, best)


def by_cluster(clips: list[Clip], known: dict[str, dict], settings: ClusterSettings) -> None:
    """Propose categories among the clips that are left (HDBSCAN); one proposed before keeps its name."""
    left = [c for c in clips if c.category_id is None and c.vector is not None and not c.at_odds]
    if len(left) < settings.min_cluster_size:
        return
    # scikit-learn takes a second to import, and few catalogues come this far.
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(min_cluster_size=settings.min_cluster_size, copy=True).fit(
        np.stack([c.vector for c in left])
    )
    groups = [np.flatnonzero(found.labels_ == number) for number in range(found.labels_.max() + 1)]
    # Largest first, so that of two that share an old name the larger keeps it.
    groups.sort(key=lambda group: (-len(group), left[group[0]].clip_id))
    used = {int(key[8:]) for key in known if key.startswith("cluster-") and key[8:].isdigit()}
    number = max(used, default=0)
    taken: set[str] = set()
    for group in groups:
        before = [left[i].before for i in group]
        old = sorted(
            {b["category_id"] for b in before if b["category_source"] == CategorySource.PROPOSED}
            - taken
            - {None}
        )
        votes = {name: sum(b["category_id"] == name for b in before) for name in old}
        name = max(old, key=lambda name: votes[name], default=None)
        if name is None or known.get(name, {}).get("state") != CategoryState.PROPOSED:
            number += 1
            name = f"cluster-{number:03d}"
        taken.add(name)
        for i in group:
            left[i].decide(name, CategorySource.PROPOSED, found.probabilities_[i])
            left[i].reason = None
    for clip, label in zip(left, found.labels_, strict=True):
        if label < 0:
            clip.reason = (clip.reason or "There is no category yet.") + " It is in no cluster either."
