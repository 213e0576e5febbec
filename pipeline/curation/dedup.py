"""Near-duplicates of a whole catalogue: found on stored hashes, the best kept, the others marked."""

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from lancedb.expr import col

from catalog.acts import apply
from catalog.curation.pairs import remembered, verdicts
from catalog.events import history
from catalog.fate import VERDICT, with_sources
from catalog.store import Catalog
from catalog.vocabulary import CategorySource, PairVerdict, Status
from pipeline.curation.duplicates import (
    DuplicateSettings,
    Match,
    Signature,
    find_matches,
    groups_of,
    kept_for,
)
from training.progress import Progress

ACT = "dedup"
_FACTS = ("clip_id", "source_uri", "sha256", "source_width", "source_height", "window_start", "window_end")
_COLUMNS = (
    *_FACTS,
    "source_duration",
    "created_at",
    "phash",
    "colours",
    "errors",
    "category_id",
    "category_source",
    *VERDICT,
)


@dataclass
class DedupReport:
    """What looking for duplicates found.

    Attributes:
        counts: `compared` clips, `matches` between two, `groups`, `duplicates` marked now and before,
            `changed` rows.
        groups: for every group the clips `kept` and their `copies`, each with its `clip_id` and `file`.
        conflicts: clips that show the same and are in different categories by their labels or a person's
            word: neither is marked, until somebody says which it is. `clips` and `categories` of each.
        backwards: two clips each, of which one shows the other backwards: two effects, and kept as such.
        event: what `undo` takes; None where nothing changed.
    """

    counts: dict[str, int]
    items: int
    seconds: float
    groups: list[dict] = field(default_factory=list)
    conflicts: list[dict] = field(default_factory=list)
    backwards: list[list[dict]] = field(default_factory=list)
    event: str | None = None


def deduplicate(
    catalog: Catalog,
    settings: DuplicateSettings | None = None,
    actor: str = "",
    progress: Progress | None = None,
) -> DedupReport:
    """Mark every clip that a better clip shows too; a second run on the same clips changes nothing.

    A marked clip has the status `duplicate`, so that nothing trains on it, and names the clip that is kept.
    Of copies the one that a person chose is kept, else the one that decodes with fewest errors, then that
    with most pixels, the longest, the highest bit rate, the earliest. What a person has told apart or undone
    is not marked again, and no category loses a clip to another one.

    Raises:
        ChangedMeanwhile: somebody judged these clips while they were compared.
    """
    began = monotonic()
    settings = settings or DuplicateSettings()
    where = col("status").isin([Status.ACCEPTED, Status.DUPLICATE])
    rows = catalog.scan("clips", list(_COLUMNS), where).sort_by("clip_id").to_pylist()
    signatures = [
        Signature.of(
            row["phash"] or (),
            row["window_start"] or 0.0,
            row["window_end"] or 0.0,
            row["sha256"] or "",
            row["colours"],
        )
        for row in rows
    ]
    if progress:
        progress(0, len(rows), {})
    found = find_matches(signatures, settings)
    ids = [row["clip_id"] for row in rows]
    said = _said(catalog)
    apart = _kept_apart(catalog) | said[PairVerdict.DIFFERENT] | said[PairVerdict.REVERSED]
    pair = {m: frozenset((ids[m.one], ids[m.other])) for m in (*found.copies, *found.backwards)}
    matches = [m for m in found.copies if pair[m] not in apart]
    matches += _named_same(said[PairVerdict.SAME] - set(pair.values()), ids, pair)
    torn = [
        m for m in matches if _disagree(rows[m.one], rows[m.other]) and pair[m] not in said[PairVerdict.SAME]
    ]
    agreed = [m for m in matches if m not in torn]
    groups = groups_of(len(rows), matches)
    rank = _ranks(catalog, [rows[number] for group in groups for number in group])
    copies: dict[int, int] = {}
    group_of: dict[int, str] = {}
    for group in groups:
        copies |= kept_for(group, agreed, {number: rank[ids[number]] for number in group})
        group_of |= dict.fromkeys(group, ids[group[0]])
    changes = [
        _decided(row, ids[copies[n]] if n in copies else None, group_of.get(n)) for n, row in enumerate(rows)
    ]
    marked = sorted((ids[copy], ids[kept]) for copy, kept in copies.items())
    payload = {"settings": settings.model_dump(), "marked": marked}
    seen = [{name: row[name] for name in ("clip_id", *VERDICT)} for row in rows]
    known = set().union(*said.values())
    twins = [(ids[m.one], ids[m.other]) for m in found.backwards if pair[m] not in known]
    decided = [
        *with_sources(catalog, changes, seen),
        *remembered(catalog, twins, PairVerdict.REVERSED, actor),
    ]
    done = apply(catalog, ACT, decided, actor=actor, payload=payload)
    if progress:
        progress(len(rows), len(rows), {"duplicates": len(copies)})
    counts = {"compared": len(rows), "matches": len(matches), "groups": len(groups)}
    counts |= {"duplicates": len(copies), "conflicts": len(torn), "backwards": len(found.backwards)}
    counts["changed"] = done.changed.get("clips", 0)
    told = [
        {
            "kept": [_named(rows[number]) for number in group if number not in copies],
            "copies": [_named(rows[number]) for number in group if number in copies],
        }
        for group in groups
        if copies.keys() & set(group)
    ]
    conflicts = [
        {
            "clips": [_named(rows[number]) for number in (match.one, match.other)],
            "categories": [rows[number]["category_id"] for number in (match.one, match.other)],
        }
        for match in torn
    ]
    backwards = [[_named(rows[m.one]), _named(rows[m.other])] for m in found.backwards]
    return DedupReport(counts, len(rows), monotonic() - began, told, conflicts, backwards, done.event)


def _named(row: dict) -> dict[str, str]:
    return {"clip_id": row["clip_id"], "file": row["source_uri"] or ""}


def _disagree(one: dict, other: dict) -> bool:
    """Whether two clips are in different categories because somebody said so of each."""
    said = (CategorySource.LABEL, CategorySource.HUMAN)
    both = one["category_source"] in said and other["category_source"] in said
    return both and one["category_id"] != other["category_id"]


def _decided(row: dict, kept: str | None, group: str | None) -> dict:
    decided = {"clip_id": row["clip_id"], "duplicate_of": kept, "duplicate_group": group}
    if kept is None:
        return decided | {"status": Status.ACCEPTED, "reason": None, "reason_code": None}
    reason = f"It shows the same as clip {kept}."
    return decided | {"status": Status.DUPLICATE, "reason": reason, "reason_code": "near_duplicate"}


def _said(catalog: Catalog) -> dict[PairVerdict, set[frozenset]]:
    """What is known of pairs of clips."""
    said: dict[PairVerdict, set[frozenset]] = {verdict: set() for verdict in PairVerdict}
    for pair, verdict in verdicts(catalog).items():
        said[verdict].add(frozenset(pair))
    return said


def _named_same(pairs: set[frozenset], ids: list[str], pair: dict[Match, frozenset]) -> list[Match]:
    """Pairs that a person calls the same and their pictures do not, as matches; entered in `pair` too."""
    number = {key: n for n, key in enumerate(ids)}
    matches = []
    for each in sorted(pairs, key=sorted):
        if each <= number.keys():
            match = Match(*sorted(number[key] for key in each), bits=0.0, mirrored=False)
            pair[match] = each
            matches.append(match)
    return matches


def _ranks(catalog: Catalog, rows: list[dict]) -> dict[str, tuple]:
    """What sorts the better copy first, by clip id."""
    columns = ["source_uri", "size"]
    uris = [row["source_uri"] for row in rows if row["source_uri"]]
    sizes = {row["source_uri"]: row["size"] for row in catalog.get("sources", uris, columns).to_pylist()}
    chosen = Counter(catalog.scan("pairs", ["kept"])["kept"].to_pylist())
    ranks = {}
    for row in rows:
        pixels = (row["source_width"] or 0) * (row["source_height"] or 0)
        lasts = (row["window_end"] or 0.0) - (row["window_start"] or 0.0)
        rate = (sizes.get(row["source_uri"]) or 0) / max(row["source_duration"] or 0.0, 1e-3)
        since = row["created_at"].timestamp() if row["created_at"] else 0.0
        errors = round(row["errors"] or 0.0, 1)
        ranks[row["clip_id"]] = (
            -chosen[row["clip_id"]],
            errors,
            -pixels,
            -round(lasts, 1),
            -rate,
            since,
            row["clip_id"],
        )
    return ranks


def _kept_apart(catalog: Catalog) -> set[frozenset]:
    """Pairs of clips that an act marked and a person took back."""
    taken_back = [event for event in history(catalog) if event.act == ACT and event.undone_by]
    return {frozenset(pair) for event in taken_back for pair in event.payload["marked"]}
