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

from catalog.curation.conflicts import claims
from catalog.curation.set_aside import set_aside_gone
from catalog.fate import BY_PERSON, SOURCE_GONE, SUPERSEDED, VERDICT, Fate, fate_of_clips
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import Outcome, Status
from pipeline.curation.policy import by_category_id
from pipeline.errors import Interrupted
from pipeline.intake import records
from pipeline.intake.gone import find_gone, part_with
from pipeline.intake.inputs import Input
from pipeline.intake.refresh import FOLLOWING, SAID, differences, followed, refresh, relabelled
from pipeline.intake.report import IngestReport
from pipeline.intake.settings import IngestSettings
from pipeline.intake.settle import label_conflicts, retire, settle
from pipeline.intake.stat import Stat
from pipeline.video.plan import plan_keys
from training.metrics import CLIPS, FAILURES, QUEUE
from training.progress import Progress

# Results are not kept waiting longer than this: what is not written is done again after a kill.
COMMIT_SECONDS = 10.0
# Reasons that lie with the moment and not with the input: the next run tries again.
PASSING = frozenset(
    {"changed", "unreachable", "unreadable", "missing", "no_permission", "closed_folder", "machine_busy"}
)
_COLUMNS = ["source_uri", "size", "mtime", "etag", "sha256", "outcome", "reason_code", "reason", "clip_ids"]
_TOLD = ("source_uri", "outcome", "reason_code", "reason")


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
        # By address, what its row says now, and what it said before.
        self.fates: dict[str, dict] = {}
        self.known: dict[str, dict] = {}
        # Addresses that inputs are copies of, which may lie elsewhere.
        self.originals: set[str] = set()
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

    def count(self, row: dict) -> None:
        """Count one input whose fate is known, and say so."""
        self._keep(row)
        if self.progress:
            self.progress(len(self.fates), self.total, {k: n for k, n in self.outcomes.items() if n})

    def _count_all(self, rows: list[dict]) -> None:
        """Count inputs whose fate this run has found out."""
        for row in rows:
            self.count(row)
            if row["outcome"] in (Outcome.REJECTED, Outcome.QUARANTINED):
                FAILURES.add(1, stage="ingest", reason=row["reason_code"] or "unknown")
        QUEUE.set(self.total - len(self.fates), stage="ingest")

    def _keep(self, row: dict) -> None:
        before = self.fates.get(row["source_uri"])
        if before is not None:
            self.outcomes[before["outcome"]] -= 1
        self.outcomes[row["outcome"]] += 1
        self.fates[row["source_uri"]] = {name: row[name] for name in _TOLD}

    def tell(self, reason: str) -> None:
        """Say what the run waits for."""
        if self.progress:
            self.progress(len(self.fates), self.total, {"waiting": reason})

    @contextmanager
    def keeping(self):
        """Write what has been taken when the body is broken off, by a person too.

        Raises:
            Interrupted: in place of KeyboardInterrupt; says what is left.
        """
        try:
            yield
        except BaseException as error:
            self.commit()
            if isinstance(error, KeyboardInterrupt):
                there = len(self.fates)
                raise Interrupted(
                    f"{there} of {self.total} inputs are in the catalogue and are not opened again. "
                    f"The same command does the other {self.total - there}, each from its beginning."
                ) from error
            raise

    def skip_known(self, inputs: list[Input]) -> list[Input]:
        """The inputs that the catalogue does not have as they are now; counts the others.

        What is said of a file may have changed where the file has not: its rows follow.
        """
        uris = [item.source.uri for item in inputs]
        rows = self.catalog.get("sources", uris, [*_COLUMNS, "window", *SAID]).to_pylist()
        self.known = {row["source_uri"]: row for row in rows}
        if self.settings.force:
            return inputs
        left, told = [], []
        for item in inputs:
            row = self.known.get(item.source.uri)
            if row is not None and self._stands(row, item):
                self.facts["unchanged"] += 1
                self.count(row)
                if said := differences(row, item.source):
                    told.append((row, said))
            else:
                left.append(item)
        self.report.relabelled = relabelled(self.catalog, told)
        refresh(self.catalog, told)
        self.facts["refreshed"] += len(told)
        return left

    def _stands(self, row: dict, item: Input) -> bool:
        """Whether what is known of an input is still true: only of bytes that were read, and are the same."""
        same = Stat(row["size"], row["mtime"], row["etag"]) == item.stat
        if not same or item.source.window not in (None, row["window"]) or row["outcome"] == Outcome.GONE:
            return False
        if row["outcome"] == Outcome.QUARANTINED:
            return row["reason_code"] not in PASSING and not self.settings.retry_quarantined
        return row["sha256"] is not None

    def skip_refused(self, inputs: list[Input]) -> list[Input]:
        """The inputs that name something; writes the rows of the others."""
        closed = [item for item in inputs if item.source.refusal]
        fates = []
        for item in closed:
            passing = item.source.refusal.code in PASSING
            fates.append(
                (item, Fate(Outcome.QUARANTINED if passing else Outcome.REJECTED, *item.source.refusal))
            )
        self._write_fates(fates)
        return [item for item in inputs if not item.source.refusal]

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

        A group without a hash could not be read: it is tried again by the next run.
        """
        found = {} if self.settings.force else self._clips_by_content(groups)
        rows, left = [], []
        for group in groups:
            sha256 = group[0].sha256
            if sha256 is None:
                rows += [self._source_row(item, self._unread(item)) for item in group]
            elif (key := (sha256, group[0].source.window)) in found:
                rows += self._rows_of_group(group, *found[key])
                self.originals.add(found[key][0])
            else:
                left.append(group)
        self._write(rows)
        return left

    def _unread(self, item: Input) -> Fate:
        """The fate of what cannot be read now; what was taken in before keeps its clips."""
        before = self.known.get(item.source.uri)
        held = before["clip_ids"] or [] if before else []
        if held and item.refusal.code == "missing":
            return Fate(Outcome.GONE, "deleted", "It is not there any more.", held)
        return Fate(Outcome.QUARANTINED, *item.refusal, held)

    def _write_fates(self, fates: list[tuple[Input, Fate]]) -> None:
        self._write([self._source_row(item, fate) for item, fate in fates])

    def _write(self, rows: list[dict]) -> None:
        """Write rows that say something new; counts all."""
        self._count_all(rows)
        new = [row for row in rows if not self._is_known(row)]
        if new:
            self.catalog.upsert("sources", new)

    def _is_known(self, row: dict) -> bool:
        before = self.known.get(row["source_uri"])
        return before is not None and all(before[name] == row[name] for name in _COLUMNS)

    def _clips_by_content(self, groups: list[list[Input]]) -> dict[tuple, tuple[str, Fate]]:
        """Address and fate of every (hash, window) that has clips of this spec and time policy."""
        wanted = sorted({group[0].sha256 for group in groups if group[0].sha256})
        columns = ["clip_id", "source_uri", "sha256", "status", "reason", "reason_code", "window_start"]
        policy = col("time_policy") == self.settings.normalise.time_policy
        clips: dict[str, list[dict]] = {}
        for at in range(0, len(wanted), 500):
            where = col("sha256").isin(wanted[at : at + 500]) & policy
            for row in self.catalog.scan("clips", columns, where=where).to_pylist():
                if row["reason_code"] not in (SUPERSEDED, SOURCE_GONE):
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
                self.unwritten.media += records.media_rows(
                    ids, line["videos"], line["posters"], line["strips"]
                )
                self.unwritten.clips += clips
            sources = self._rows_of_group(group, first.source.uri, records.fate_of(answer, clips))
            self.unwritten.sources += sources
            self.facts["decoded"] += 1
            self.facts["clips"] += len(clips)
            CLIPS.add(len(clips), stage="ingest")
            self.report.decode_cpu_seconds += answer["cpu_seconds"]
            self.report.peak_rss_mb = max(self.report.peak_rss_mb, answer["peak_rss_mb"])
            self._count_all(sources)
        waited = time.monotonic() - self.committed
        if len(self.unwritten.sources) >= self.settings.commit_rows or waited >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write what was taken: media first, `sources` last, because it says that the others are there.

        Rows are forgotten once all are written: a commit that is broken off is made again, whole.
        """
        rows = self.unwritten
        if rows.clips:
            self.catalog.upsert("media", rows.media)
            self._write_clips(rows.clips)
        if rows.sources:
            self.catalog.upsert("sources", rows.sources)
        self.unwritten, self.committed = _Rows(), time.monotonic()

    def _write_clips(self, clips: list[dict]) -> None:
        """Add new clips; those that were there keep what later steps and people said about them."""
        columns = ["clip_id", "reviewed_by", "created_at", *VERDICT, *FOLLOWING]
        there = self.catalog.get("clips", [row["clip_id"] for row in clips], columns).to_pylist()
        known = {row["clip_id"]: row for row in there}
        if new := [row for row in clips if row["clip_id"] not in known]:
            self.catalog.upsert("clips", new)
        if again := [self._again(row, known[row["clip_id"]]) for row in clips if row["clip_id"] in known]:
            self.catalog.update("clips", again)

    def _again(self, row: dict, clip: dict) -> dict:
        """The row of a clip that is decoded once more; what was decided about it stays."""
        said = {name: row[name] for name in SAID if name in row}
        after = row | followed(clip, said, self.known.get(row["source_uri"]) or {}, self.names)
        approved = clip["reviewed_by"] and clip["status"] == Status.ACCEPTED
        if not approved and clip["reason_code"] != BY_PERSON:
            after |= {name: row[name] for name in VERDICT if name in row}
        return after

    def settle(self, groups: list[list[Input]], inputs: list[Input], scope: str | None) -> None:
        """Set right what only all rows together say: copies, other parts, files that went, labels at odds."""
        settle(self.catalog, [group[0].sha256 for group in groups])
        retire(self.catalog, [item.source.uri for item in inputs])
        gone = find_gone(self.catalog, scope, self.originals, self.fates.keys(), self.settings.s3_endpoint)
        listed = self._newly_gone()
        part_with(self.catalog, [*gone, *listed], self.names)
        if self.settings.set_aside_gone:
            set_aside_gone(self.catalog, "ingest")
        self.total += len(gone)
        conflicts = label_conflicts(self.catalog, self.names)
        self.report.conflicts = [
            {"clips": list(conflict.clip_ids), "labels": conflict.labels} for conflict in conflicts
        ]
        self.report.claims = len({claim.clip_id for claim in claims(self.catalog)})
        uris = [*self.fates, *(row["source_uri"] for row in gone)]
        for row in self.catalog.get("sources", uris, list(_TOLD)).to_pylist():
            self._keep(row)

    def _newly_gone(self) -> list[dict]:
        """Rows of inputs that are listed, were taken in by an earlier run, and are not there."""
        uris = [uri for uri, fate in self.fates.items() if fate["outcome"] == Outcome.GONE]
        uris = [uri for uri in uris if (self.known.get(uri) or {}).get("outcome") != Outcome.GONE]
        return self.catalog.get("sources", uris, [*_COLUMNS, "window"]).to_pylist()

    def finished(self, seconds: float) -> IngestReport:
        """The report of the run."""
        self.facts["conflicts"] = len(self.report.conflicts)
        self.report.counts = {"found": self.total, **self.outcomes, **self.facts}
        rows = sorted(self.fates.values(), key=lambda row: row["source_uri"])
        codes = Counter(row["reason_code"] for row in rows if row["reason_code"])
        self.report.reasons = dict(codes.most_common())
        self.report.refused = [row for row in rows if row["outcome"] != Outcome.ACCEPTED]
        self.report.seconds = seconds
        return self.report
