"""The fate of an input, which is the best that became of its clips, and how it follows when they change."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from catalog.changes import Change
from catalog.store import Catalog
from catalog.vocabulary import Outcome, Status

# What a verdict about a clip decides.
VERDICT = ("status", "reason", "reason_code", "duplicate_of", "duplicate_group")
# The reasons of an input whose bytes another one has; of the second the data sets say different things.
SAME_CONTENT, LABEL_CONFLICT = "same_content", "label_conflict"
COPIES = frozenset({SAME_CONTENT, LABEL_CONFLICT})
# Reasons that are no score's, so that no policy brings a clip back: no source stands for it any more, because
# it is another file or another part of it now; its file is gone, and a person set it aside; a person's word.
SUPERSEDED, SOURCE_GONE, BY_PERSON = "superseded", "source_gone", "by_person"
# A person's word too: its terms do not hold any more, and whatever trained on it is marked.
LICENCE_WITHDRAWN = "licence_withdrawn"


@dataclass(frozen=True)
class Fate:
    """What a row of `sources` says: outcome, why, and the clips that hold the content."""

    outcome: Outcome
    code: str | None = None
    reason: str | None = None
    clip_ids: list[str] = field(default_factory=list)


def fate_of_clips(clips: Sequence[dict]) -> Fate:
    """The fate of an input by its clips, in order of time: the best of theirs."""
    ids = [clip["clip_id"] for clip in clips]
    for status, outcome in ((Status.ACCEPTED, Outcome.ACCEPTED), (Status.DUPLICATE, Outcome.DUPLICATE)):
        first = next((clip for clip in clips if clip["status"] == status), None)
        if first is not None:
            if status == Status.ACCEPTED:
                return Fate(outcome, clip_ids=ids)
            return Fate(outcome, first["reason_code"], first["reason"], ids)
    return Fate(Outcome.REJECTED, clips[0]["reason_code"], clips[0]["reason"], ids)


def with_sources(catalog: Catalog, verdicts: Sequence[dict], seen: Sequence[dict] = ()) -> list[Change]:
    """Verdicts about clips, and the outcome of the sources that these clips came from, as one act's changes.

    Copies with the same bytes stay the duplicates that they are.

    Args:
        verdicts: `clip_id` and `VERDICT` of clips as they are to be.
        seen: the same of these clips as the verdicts were made on.
    """
    before = {row["clip_id"]: row for row in seen}
    verdicts = [row for row in verdicts if row != before.get(row["clip_id"])]
    wished = {row["clip_id"]: row for row in verdicts}
    uris = catalog.get("clips", list(wished), ["source_uri"])["source_uri"].to_pylist()
    columns = ["source_uri", "outcome", "reason", "reason_code", "clip_ids"]
    sources = [
        row
        for row in catalog.get("sources", [uri for uri in uris if uri], columns).to_pylist()
        if row["clip_ids"] and row["outcome"] != Outcome.GONE and row["reason_code"] not in COPIES
    ]
    wanted = [key for row in sources for key in row["clip_ids"]]
    columns = ["clip_id", "status", "reason", "reason_code"]
    clips = {row["clip_id"]: row for row in catalog.get("clips", wanted, columns).to_pylist()} | wished
    followers = []
    for row in sources:
        theirs = [clips[key] for key in row["clip_ids"] if key in clips]
        if theirs:
            fate = fate_of_clips(theirs)
            told = {"outcome": fate.outcome, "reason": fate.reason, "reason_code": fate.code}
            followers.append({"source_uri": row["source_uri"], **told})
    seen = [before[key] for key in wished if key in before]
    return [Change("clips", verdicts, seen=seen), Change("sources", followers)]


def copy_of(original: str, labels: tuple[str | None, str | None] | None = None) -> tuple[str, str]:
    """Code and reason of a copy; `labels` are the original's and its own, where they are at odds."""
    if labels is None:
        return SAME_CONTENT, f"It has the same content as {original}."
    theirs, own = labels
    other = f"which is labelled {theirs!r}" if theirs else "as others with another label"
    return LABEL_CONFLICT, (
        f"It has the same content as {original}, {other}, and is labelled {own!r}; a person has to say which "
        "it is."
    )
