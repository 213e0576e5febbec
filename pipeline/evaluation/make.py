"""Generate an evaluation's clips over Ray workers: each loads the model once, and keeps what it made."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from catalog.store import Catalog
from pipeline.errors import PipelineError
from pipeline.evaluation.plan import Case
from pipeline.evaluation.settings import EvaluateSettings
from pipeline.evaluation.store import EvaluationStore
from pipeline.pairing.plan import Pair
from pipeline.pairing.stream import PairStream
from pipeline.workers.actors import map_keys
from training.backbones.settings import BackboneSettings
from training.errors import TrainingError
from training.progress import Progress
from training.release import Release
from training.settings import GenerateSettings

GAP = "transfer_gap"


@dataclass(frozen=True)
class Contestant:
    """A model and how it generates.

    Attributes:
        stream: features of the snapshot, for the transfer gap; None where there are none.
        without_gap: why there is no stream.
    """

    release: Release
    backbone: BackboneSettings
    generate: GenerateSettings
    stream: PairStream | None = None
    without_gap: str = ""

    @property
    def made_by(self) -> dict[str, Any]:
        """What decides a clip beside its case: the model and how it generates. Its seed is the case's."""
        return {
            "model": self.release.model_id,
            "backbone": self.backbone.model_dump(mode="json"),
            "generate": self.generate.model_dump(mode="json", exclude={"seed"}),
        }

    def keys(self, cases: Sequence[Case]) -> list[str]:
        """What its clips are called, one for each case."""
        return [case.key(self.made_by) for case in cases]

    def gap_by(self, draws: int) -> str:
        """What a pair's losses depend on beside clip and pair."""
        encoder = self.stream.encoder_id if self.stream else ""
        return f"{draws} draws, encoder {encoder[:16]}"


@dataclass
class MakeReport:
    """What generating did: `kept` clips stood, `made` were generated; and of those that failed, why."""

    kept: int = 0
    made: int = 0
    failures: dict[str, str] = field(default_factory=dict)


class MakeClips:
    """Actor: table (key) in; the clip of each key and the losses of its pair are written to the store, and a
    table (key, made, reason) comes back."""

    def __init__(
        self,
        catalog: Catalog,
        store: EvaluationStore,
        contestant: Contestant,
        cases: Mapping[str, Case],
        draws: int,
    ) -> None:
        from pipeline.studio import Studio

        self.store, self.contestant, self.cases, self.draws = store, contestant, cases, draws
        self.studio = Studio(catalog, contestant.release, contestant.backbone, contestant.generate)

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = [self._work(key) for key in batch["key"].to_pylist()]
        return pa.Table.from_pylist(
            rows, pa.schema({"key": pa.string(), "made": pa.bool_(), "reason": pa.string()})
        )

    def _work(self, key: str) -> dict[str, Any]:
        case, made = self.cases[key], False
        try:
            if not self.store.is_made(key):
                self._make(key, case)
                made = True
            if self.contestant.stream is not None:
                self._losses(key, case)
        except (PipelineError, TrainingError) as error:
            return {"key": key, "made": made, "reason": str(error)}
        return {"key": key, "made": made, "reason": None}

    def _make(self, key: str, case: Case) -> None:
        from pipeline.video.transcode import encode_video

        began = time.monotonic()
        clip = self.studio.make(case.reference_id, case.target_id, case.prompt, seed=case.seed)
        row = {"case": asdict(case), "made_by": self.contestant.made_by, "notes": clip.notes}
        row["seconds"] = round(time.monotonic() - began, 2)
        # The video says nothing of its model: it may be shown to somebody who must not know.
        self.store.keep(key, encode_video(clip.frames, clip.fps), row)

    def _losses(self, key: str, case: Case) -> None:
        """Losses of the pair under an adapter of its own effect, of another, and under none."""
        from training.evaluation.transfer_gap import pair_losses
        from training.methods.base import device_of, dtype_of

        by = self.contestant.gap_by(self.draws)
        if not self.store.missing(key, {GAP: by}):
            return
        method, stream = self.studio.method, self.contestant.stream
        pairs = (
            Pair(case.target_id, case.reference_id, case.category, case.seed),
            Pair(case.target_id, case.other_id, case.other_category, case.seed),
        )
        same, other = (stream.batch_of([pair]).to(device_of(method), dtype_of(method)) for pair in pairs)
        found = pair_losses(method, [(same, other)], self.draws)
        value = [float(each[0]) for each in (found.same, found.other, found.none)]
        self.store.note(key, {GAP: (by, value)})


def clips_due(
    store: EvaluationStore, contestant: Contestant, cases: Sequence[Case], settings: EvaluateSettings
) -> list[str]:
    """The clips that are not there, or whose pair has not been denoised."""
    gap = {} if contestant.stream is None else {GAP: contestant.gap_by(settings.draws)}
    return [key for key in contestant.keys(cases) if not store.is_made(key) or store.missing(key, gap)]


def make_clips(
    catalog: Catalog,
    store: EvaluationStore,
    contestant: Contestant,
    cases: Sequence[Case],
    settings: EvaluateSettings,
    progress: Progress | None = None,
) -> MakeReport:
    """Generate what the store lacks; killed, the same call goes on."""
    by_key = dict(zip(contestant.keys(cases), cases, strict=True))
    due = clips_due(store, contestant, cases, settings)
    report = MakeReport(kept=sum(map(store.is_made, by_key)))
    done = len(by_key) - len(due)
    if progress:
        progress(done, len(by_key), {})
    for table in map_keys(
        due,
        MakeClips,
        {
            "catalog": catalog,
            "store": store,
            "contestant": contestant,
            "cases": {key: by_key[key] for key in due},
            "draws": settings.draws,
        },
        batch_size=1,
        actors=settings.actors,
        cpus=settings.cpus_per_actor,
        gpus=settings.gpus_per_actor,
        setting="evaluate",
    ):
        for row in table.to_pylist():
            done += 1
            report.made += row["made"]
            if row["reason"]:
                report.failures[row["key"]] = row["reason"]
        if progress:
            progress(done, len(by_key), {})
    return report
