"""Pairs that a data set names itself (VAP-Data): read from its manifest, kept with sources, found again."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.vocabulary import Status
from pipeline.pairing.plan import GivenPair, PairSettings
from pipeline.sources import manifests
from pipeline.sources.manifests import LeadsOutside, Root
from pipeline.sources.rows import Row, refuse
from pipeline.sources.source import Source

if TYPE_CHECKING:
    from catalog.store import Catalog


def with_references(
    path: Path,
    rows: Sequence[Row],
    columns: Mapping[str, str] | None,
    root: Path | None,
    sources: list[Source],
    left_out: Collection[object] = (),
) -> list[Source]:
    """Sources with the references that their rows name; a reference listed nowhere else is a source too.

    Args:
        left_out: files, as the manifest names them, that are no references.

    Raises:
        BadManifest: references that lead outside the root, or a list or score that is none; all at once.
    """
    names = manifests.resolve_columns(path, rows, columns) if rows else {}
    if "references" not in names:
        return sources
    top = Root(root or path.parent)
    by_uri = {source.uri: source for source in sources}
    pairs: dict[str, dict[str, float | None]] = defaultdict(dict)
    wrong: list[tuple[int, str]] = []
    for row in rows:
        try:
            target, refusal = top.find(row.values.get(names["path"]))
            score = _score(row, names)
            listed = [name for name in _listed(row, names) if name not in left_out]
            found = [(named, *top.find(named)) for named in listed]
        except (LeadsOutside, ValueError) as error:
            wrong.append((row.line, str(error)))
            continue
        if refusal is not None:
            continue
        for named, reference, refused in found:
            if refused is not None:
                entry = f"{manifests.entry_of(path, row.line)}:{named}"
                by_uri.setdefault(entry, Source(uri=entry, refusal=refused))
                continue
            pairs[target].setdefault(reference, score)
            # Pairs share their effect, so a reference has its target's label.
            by_uri.setdefault(reference, Source(uri=reference, label=by_uri[target].label))
    refuse(path, wrong)
    return [replace(s, references=tuple(pairs.get(s.uri, {}).items())) for s in by_uri.values()]


def _listed(row: Row, names: Mapping[str, str]) -> list:
    value = row.values.get(names["references"])
    if value is None or value == "":
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no JSON list of references") from error
    return value if isinstance(value, list) else [value]


def _score(row: Row, names: Mapping[str, str]) -> float | None:
    value = row.values.get(names.get("score", ""))
    try:
        return None if value in (None, "") else float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{value!r} is no alignment score") from error


def given_pairs(catalog: "Catalog") -> tuple[GivenPair, ...]:
    """The pairs that data sets gave for clips of the catalogue, in a stable order.

    Addresses are resolved to clips now and not when they were read, so that a video that was redone, or that
    a better copy stands for, is found. Of a video in several windows the first clip counts.
    """
    # A place is looked at before the catalogue is opened, and LanceDB takes seconds to import.
    from lancedb.expr import col

    rows = catalog.scan("sources", ["source_uri", "clip_ids", "references"]).to_pylist()
    first = {row["source_uri"]: row["clip_ids"][0] for row in rows if row["clip_ids"]}
    marked = catalog.scan("clips", ["clip_id", "duplicate_of"], col("status") == Status.DUPLICATE).to_pylist()
    kept = {row["clip_id"]: row["duplicate_of"] for row in marked}
    found: dict[tuple[str, str], float | None] = {}
    for row in sorted(rows, key=lambda row: row["source_uri"]):
        for uri, score in json.loads(row["references"] or "[]"):
            target, reference = first.get(row["source_uri"]), first.get(uri)
            target, reference = kept.get(target, target), kept.get(reference, reference)
            if target and reference and target != reference:
                found.setdefault((target, reference), score)
    return tuple(GivenPair(target=t, reference=r, score=score) for (t, r), score in sorted(found.items()))


def wanted_pairs(catalog: "Catalog", settings: PairSettings) -> tuple[GivenPair, ...]:
    """The given pairs that a plan under these settings reads: none where they do not ask for them."""
    return () if settings.use_given == "off" else given_pairs(catalog)
