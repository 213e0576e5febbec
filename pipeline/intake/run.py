"""The bookkeeping of one ingestion: what is known already, what is written, what is reported."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
from lancedb.expr import col

from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import Outcome
from pipeline.curation.fate import Fate, fate_of_clips
from pipeline.curation.policy import SUPERSEDED, by_category_id
from pipeline.intake import records
from pipeline.intake.fingerprint import Stat
from pipeline.intake.inputs import Input
from pipeline.intake.refresh import SAID, differences, refresh
from pipeline.intake.settings import IngestSettings
from pipeline.progress import Progress
from pipeline.video.plan import plan_keys

# Results are not kept waiting longer than this: what is not written is done again after a kill.
COMMIT_SECONDS = 30.0
# Reasons that lie with the moment and not with the input.
_ONCE_MORE = ("changed", "unreachable")


@dataclass
class IngestReport:
    """What became of the inputs.

    Attributes:
        counts: `found` = `accepted` + `duplicate` + `rejected` + `quarantined`; `unchanged` were not
            opened, of which `refreshed` are described otherwise than before; `decoded` files were decoded by
            this run, `clips` were written.
        reasons: how many inputs per reason code.
        seconds: wall clock.
        items: inputs.
        steps: name, seconds and items of each step.
        decode_cpu_seconds: processor seconds of the decoding processes.
        peak_rss_mb: the most memory one of them had.
    """

    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    items: int = 0
    steps: list[dict] = field(default_factory=list)
    decode_cpu_seconds: float = 0.0
    peak_rss_mb: float = 0.0


@dataclass
class _Rows:
    """Rows that wait for the next commit."""

    media: list[dict] = field(default_factory=list)
    clips: list[dict] = field(default_factory=list)
    sources: list[dict] = field(default_factory=list)


class IngestRun:
    """Collects the counts of a run and writes its rows."""

    def __init__(
        self, catalog: Catalog, settings: IngestSettings, run_id: str, progress: Progress | None, total: int
    ):
        self.catalog = catalog
        self.settings = settings
        self.run_id = run_id
        self.names = CategoryNames.load(catalog)
        self.policy, _ = by_category_id(settings.policy, self.names)
        self.progress = progress
        self.outcomes: Counter[str] = Counter(dict.fromkeys(Outcome, 0))
        self.reasons: Counter[str] = Counter()
        self.facts: Counter[str] = Counter(dict.fromkeys(("unchanged", "refreshed", "decoded", "clips"), 0))
        self.total = total
        self.report = IngestReport(items=total)
        self.unwritten = _Rows()
        self.committed = time.monotonic()

    @contextmanager
    def step(self, name: str, items: Sequence):
        """Time a step for the report."""
        began = time.monotonic()
        yield
        took = round(time.monotonic() - began, 3)
        self.report.steps.append({"name": name, "seconds": took, "items": len(items)})

    def count(self, outcome: str, code: str | None) -> None:
        """Count one input whose fate is known, and say so."""
        self.outcomes[outcome] += 1
        if code:
            self.reasons[code] += 1
        if self.progress:
            self.progress(self.outcomes.total(), self.total, dict(self.outcomes))

    def skip_known(self, inputs: list[Input]) -> list[Input]:
        """The inputs that the catalogue does not have as they are now; counts the others.

        What is said of a file may have changed where the file has not: its rows follow.
        """
        if self.settings.force:
            return inputs
        columns = [
            "source_uri",
            "size",
            "mtime",
            "etag",
            "outcome",
            "reason_code",
            "clip_ids",
            "window",
            *SAID,
        ]
        uris = [item.source.uri for item in inputs]
        known = {row["source_uri"]: row for row in self.catalog.get("sources", uris, columns).to_pylist()}
        left, told = [], []
        for item in inputs:
            row = known.get(item.source.uri)
            same = row is not None and Stat(row["size"], row["mtime"], row["etag"]) == item.stat
            same = same and item.source.window in (None, row["window"])
            retry = same and row["outcome"] == Outcome.QUARANTINED and self.settings.retry_quarantined
            if same and not retry and row["reason_code"] not in _ONCE_MORE:
                self.facts["unchanged"] += 1
                self.count(row["outcome"], row["reason_code"])
                if said := differences(row, item.source):
                    told.append((row, said))
            else:
                left.append(item)
        refresh(self.catalog, told)
        self.facts["refreshed"] += len(told)
        return left

    def skip_too_large(self, inputs: list[Input]) -> list[Input]:
        """The inputs of a size that is worth reading; writes the others' rows, unread."""
        limits = self.settings.normalise.limits
        large = [item for item in inputs if (item.stat.size or 0) > limits.max_bytes]
        self._write_fates(
            [(item, Fate(Outcome.REJECTED, *limits.too_large(item.stat.size))) for item in large]
        )
        return [item for item in inputs if (item.stat.size or 0) <= limits.max_bytes]

    def skip_copies(self, groups: list[list[Input]]) -> list[list[Input]]:
        """The groups whose content the catalogue does not have; writes the others' rows.

        A group without a hash could not be read, and is rejected.
        """
        found = {} if self.settings.force else self._clips_by_content(groups)
        rows, left = [], []
        for group in groups:
            sha256 = group[0].sha256
            if sha256 is None:
                fate = Fate(Outcome.REJECTED, "unreadable", "The file is not there, or may not be read.")
                rows += [self._source_row(item, fate) for item in group]
            elif (key := (sha256, group[0].source.window)) in found:
                rows += self._rows_of_group(group, *found[key])
            else:
                left.append(group)
        self._write(rows)
        return left

    def _write_fates(self, fates: list[tuple[Input, Fate]]) -> None:
        self._write([self._source_row(item, fate) for item, fate in fates])

    def _write(self, rows: list[dict]) -> None:
        for row in rows:
            self.count(row["outcome"], row["reason_code"])
        if rows:
            self.catalog.upsert("sources", rows)

    def _clips_by_content(self, groups: list[list[Input]]) -> dict[tuple, tuple[str, Fate]]:
        """Of every (hash, window) that has clips of this spec and time policy: address and fate."""
        wanted = sorted({group[0].sha256 for group in groups if group[0].sha256})
        columns = ["clip_id", "source_uri", "sha256", "status", "reason", "reason_code", "window_start"]
        policy = col("time_policy") == self.settings.normalise.time_policy
        clips: dict[str, list[dict]] = {}
        for at in range(0, len(wanted), 500):
            where = col("sha256").isin(wanted[at : at + 500]) & policy
            for row in self.catalog.scan("clips", columns, where=where).to_pylist():
                if row["reason_code"] != SUPERSEDED:
                    clips.setdefault(row["sha256"], []).append(row)
        fates = {}
        for key in {(group[0].sha256, group[0].source.window) for group in groups} - {(None, None)}:
            ids = self._possible_ids(*key)
            rows = [row for row in clips.get(key[0], ()) if row["clip_id"] in ids]
            if rows:
                rows.sort(key=lambda row: row["window_start"])
                fates[key] = (rows[0]["source_uri"], fate_of_clips(rows))
        return fates

    def _possible_ids(self, sha256: str | None, window: str | None) -> set[str]:
        normalise = self.settings.normalise
        keys = plan_keys(normalise.time_policy, normalise.max_windows, window)
        return {records.clip_id(sha256 or "", key, self.catalog.spec.spec_id) for key in keys}

    def _rows_of_group(self, group: list[Input], original: str, fate: Fate) -> list[dict]:
        copy = records.copied(fate, original)
        return [self._source_row(item, fate if item.source.uri == original else copy) for item in group]

    def _source_row(self, item: Input, fate: Fate) -> dict:
        now = datetime.now(UTC)
        return records.source_row(item.source, item.stat, item.sha256, fate, self.run_id, now)

    def take(self, made: pa.Table, groups: dict[str, list[Input]]) -> None:
        """Turn what a task made into rows, and write them when enough have come or waited long enough."""
        now = datetime.now(UTC)
        normalise, spec_id = self.settings.normalise, self.catalog.spec.spec_id
        for line in made.to_pylist():
            answer, group = json.loads(line["answer"]), groups[line["uri"]]
            first, clips = group[0], []
            if answer["outcome"] == "normalised":
                category = self.names.file_under(first.source.label)
                clips = records.clip_rows(
                    first.source,
                    category,
                    first.sha256,
                    answer,
                    normalise,
                    self.policy,
                    spec_id,
                    self.run_id,
                    now,
                )
                ids = [clip["clip_id"] for clip in clips]
                self.unwritten.media += records.media_rows(ids, line["videos"], line["posters"])
                self.unwritten.clips += clips
            sources = self._rows_of_group(group, first.source.uri, records.fate_of(answer, clips))
            self.unwritten.sources += sources
            self.facts["decoded"] += 1
            self.facts["clips"] += len(clips)
            self.report.decode_cpu_seconds += answer["cpu_seconds"]
            self.report.peak_rss_mb = max(self.report.peak_rss_mb, answer["peak_rss_mb"])
            for row in sources:
                self.count(row["outcome"], row["reason_code"])
        waited = time.monotonic() - self.committed
        if len(self.unwritten.sources) >= self.settings.commit_rows or waited >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write what was taken: media first, `sources` last, because it says that the others are there."""
        rows, self.unwritten, self.committed = self.unwritten, _Rows(), time.monotonic()
        if rows.clips:
            self.catalog.upsert("media", rows.media)
            self._write_clips(rows.clips)
        if rows.sources:
            self.catalog.upsert("sources", rows.sources)

    def _write_clips(self, clips: list[dict]) -> None:
        """Add new clips; those that were there keep what later steps wrote about them."""
        there = self.catalog.get("clips", [row["clip_id"] for row in clips], ["clip_id"])
        known = set(there["clip_id"].to_pylist())
        if new := [row for row in clips if row["clip_id"] not in known]:
            self.catalog.upsert("clips", new)
        if again := [row for row in clips if row["clip_id"] in known]:
            kept = ("created_at", "category_id", "category_source", "category_confidence")
            again = [{name: value for name, value in row.items() if name not in kept} for row in again]
            self.catalog.update("clips", again)

    def finished(self, seconds: float) -> IngestReport:
        """The report of the run."""
        self.report.counts = {"found": self.total, **self.outcomes, **self.facts}
        self.report.reasons = dict(self.reasons.most_common())
        self.report.seconds = seconds
        return self.report
