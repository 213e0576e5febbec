"""Files that an earlier run took in and that are no longer there: moved, or deleted."""

from collections.abc import Collection, Sequence

from lancedb.expr import col

from catalog.fate import fate_of_clips
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import Outcome
from pipeline.intake.refresh import FOLLOWING, followed
from pipeline.intake.settle import PER_QUERY
from pipeline.intake.stat import not_read
from pipeline.sources import objects
from pipeline.sources.addresses import path_of
from pipeline.sources.members import member_at
from pipeline.sources.source import Source

_COLUMNS = ["source_uri", "window", "sha256", "outcome", "reason_code", "clip_ids", "label"]
_SAID = ("label", "caption", "source", "generator", "licence", "licence_evidence")


def find_gone(
    catalog: Catalog,
    scope: str | None,
    also: Collection[str],
    present: Collection[str],
    endpoint: str | None = None,
) -> list[dict]:
    """Rows of `sources` in a folder whose file, or entry of a manifest, is not there any more.

    Args:
        scope: the beginning of the addresses that are looked at.
        also: further addresses.
        present: addresses of this run's inputs.
    """
    also = set(also) - set(present)
    if scope is None:
        rows = catalog.get("sources", list(also), _COLUMNS).to_pylist()
    else:
        rows = catalog.scan("sources", _COLUMNS).to_pylist()
        rows = [row for row in rows if row["source_uri"].startswith(scope) or row["source_uri"] in also]
    rows = [row for row in rows if row["source_uri"] not in present and row["outcome"] != Outcome.GONE]
    return [row for row in rows if not is_there(_location(row), endpoint)]


def is_there(location: str, endpoint: str | None = None) -> bool:
    """Whether a file or an object exists; one that cannot be looked at does."""
    try:
        if objects.is_object(location):
            objects.head(location, endpoint)
        elif (member := member_at(location)) is not None:
            member.told()
        else:
            path_of(location).stat()
    except OSError as error:
        return not_read(error).code != "missing"
    return True


def _location(row: dict) -> str:
    return Source(row["source_uri"], window=row["window"]).location


def part_with(catalog: Catalog, gone: Sequence[dict], names: CategoryNames) -> dict[str, str | None]:
    """Have a clip whose file is gone go over to another file with the same bytes, with its label and words.

    What no file has any more keeps its clips: the catalogue holds them. Returns, by the address of each that
    is gone, where its content is now.
    """
    found = _heirs(catalog, gone)
    moved = {row["source_uri"]: found.get(_content(row)) for row in gone}
    taken = catalog.scan("clips", ["clip_id", "source_uri", "status", "reason", "reason_code"]).to_pylist()
    theirs: dict[str, list[dict]] = {}
    for clip in taken:
        if heir := moved.get(clip["source_uri"]):
            theirs.setdefault(heir["source_uri"], []).append(clip)
    sources = []
    for uri, clips in theirs.items():
        fate = fate_of_clips(clips)
        told = {"outcome": fate.outcome, "reason": fate.reason, "reason_code": fate.code}
        sources.append({"source_uri": uri, **told})
    for uri, heir in moved.items():
        code = "moved" if heir else "deleted"
        reason = f"It is now {heir['source_uri']}." if heir else "It is not there any more."
        told = {"outcome": Outcome.GONE, "reason": reason, "reason_code": code}
        sources.append({"source_uri": uri, **told})
    if sources:
        catalog.update("sources", sources)
    heirs = {clip["clip_id"]: moved[clip["source_uri"]] for clips in theirs.values() for clip in clips}
    _hand_over(catalog, heirs, names)
    return {uri: heir and heir["source_uri"] for uri, heir in moved.items()}


def _content(row: dict) -> tuple:
    return (row["sha256"], *(row["clip_ids"] or ()))


def _heirs(catalog: Catalog, gone: Sequence[dict]) -> dict[tuple, dict]:
    """The first file that is there and has a content, by content."""
    away = {row["source_uri"] for row in gone}
    hashes = sorted({row["sha256"] for row in gone if row["sha256"] and row["clip_ids"]})
    heirs: dict[tuple, dict] = {}
    for at in range(0, len(hashes), PER_QUERY):
        where = col("sha256").isin(hashes[at : at + PER_QUERY]) & (col("outcome") != Outcome.GONE)
        rows = (
            catalog.scan("sources", list(dict.fromkeys((*_COLUMNS, *_SAID))), where=where)
            .sort_by("source_uri")
            .to_pylist()
        )
        for row in rows:
            if row["clip_ids"] and row["source_uri"] not in away and is_there(_location(row)):
                heirs.setdefault(_content(row), row)
    return heirs


def _hand_over(catalog: Catalog, heirs: dict[str, dict], names: CategoryNames) -> None:
    """Write the new address into clips, and what the new file's data set says; silence changes nothing."""
    clips = catalog.get("clips", list(heirs), ["clip_id", "source_uri", *FOLLOWING]).to_pylist()
    uris = [clip["source_uri"] for clip in clips]
    rows = catalog.get("sources", uris, ["source_uri", *_SAID]).to_pylist()
    before = {row["source_uri"]: row for row in rows}
    changed = []
    for clip in clips:
        heir = heirs[clip["clip_id"]]
        after = followed(clip, heir, before.get(clip["source_uri"], {}), names)
        changed.append(after | {"source_uri": heir["source_uri"]})
    if changed:
        catalog.update("clips", changed)
