"""Catalogues of files normalised in this process, without Ray: for tests of what comes after decoding."""

from collections.abc import Sequence
from datetime import UTC, datetime

from catalog.names import normalise_label
from catalog.store import Catalog
from pipeline.curation.policy import QualityPolicy
from pipeline.intake import records
from pipeline.intake.stat import hashed, stat
from pipeline.sources.source import Source
from pipeline.video.normalise import NormaliseSettings, normalise


def store(catalog: Catalog, sources: Sequence[Source], policy: QualityPolicy | None = None) -> None:
    """Put sources into a catalogue as `ingest` does; the files must be good ones."""
    settings, policy, now = NormaliseSettings(), policy or QualityPolicy(), datetime.now(UTC)
    source_rows, clip_rows, media = [], [], []
    for source in sources:
        sha256 = hashed(source.uri).sha256
        with open(source.uri, "rb") as file:  # noqa: PTH123
            made = normalise(file, catalog.spec, settings)
        clips = [{"key": c.key, "start": c.start, "end": c.end, "scores": c.scores} for c in made.clips]
        answer = {"outcome": "normalised", "facts": made.facts, "clips": clips}
        rows = records.clip_rows(
            source,
            normalise_label(source.label),
            sha256,
            answer,
            settings,
            policy,
            catalog.spec.spec_id,
            "test",
            now,
        )
        media += records.media_rows(
            [row["clip_id"] for row in rows],
            [c.video for c in made.clips],
            [c.poster for c in made.clips],
            [c.strip for c in made.clips],
        )
        fate = records.fate_of(answer, rows)
        source_rows.append(records.source_row(source, stat(source.uri), sha256, fate, "test", now))
        clip_rows += rows
    catalog.upsert("media", media)
    catalog.upsert("clips", clip_rows)
    catalog.upsert("sources", source_rows)
