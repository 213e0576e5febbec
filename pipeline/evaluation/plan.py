"""Which clips an evaluation generates: held-out targets, each with a reference of its own category."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from lancedb.expr import col

from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import Split, Status
from pipeline.errors import PipelineError
from pipeline.pairing.held_out import SEEN, choose_held_out
from pipeline.pairing.plan import COLUMNS, PairSettings

IN, OUT = "in", "out"
DOMAINS = {IN: "in domain", OUT: "out of domain"}


class NothingHeldOut(PipelineError):
    """A snapshot with no clip that could be generated for."""


@dataclass(frozen=True)
class Case:
    """One clip to generate: the effect of `reference_id` on the first frame of `target_id`.

    Attributes:
        other_id: a reference of another category, for the transfer gap.
        category: its id; `name` is what people call it.
        domain: IN where its category trains, OUT where it is held out as a whole.
        prompt: the target's caption.
        seed: of its noise; every model starts from the same.
    """

    target_id: str
    reference_id: str
    other_id: str
    category: str
    other_category: str
    name: str
    domain: str
    prompt: str
    seed: int

    def key(self, made_by: dict[str, Any]) -> str:
        """What the generated clip is called: equal where everything is that decides it, 24 hex digits.

        Args:
            made_by: JSON, the model and how it generates.
        """
        own = {name: value for name, value in asdict(self).items() if name not in _NOT_OF_A_CLIP}
        whole = json.dumps([own, made_by], sort_keys=True, default=str)
        return hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:24]


_NOT_OF_A_CLIP = ("other_id", "other_category", "category", "name", "domain")


@dataclass(frozen=True)
class EvaluationPlan:
    """A pure function of a snapshot's clips and the settings.

    Attributes:
        cases: in the order of their categories.
        others: further real clips of the same categories, and these, for what FVD is between real ones: at
            most as many as there are cases.
        teachers: clips that a classifier of effects may learn from, and their categories: no target is
            among them.
        left_out: categories with held-out clips that no case is of, and why.
    """

    cases: tuple[Case, ...]
    others: dict[str, str]
    teachers: dict[str, str]
    left_out: dict[str, str]

    @property
    def targets(self) -> tuple[str, ...]:
        """The real clips that are generated for, each once."""
        return tuple(dict.fromkeys(case.target_id for case in self.cases))


def plan_evaluation(
    catalog: Catalog, pairs: PairSettings, per_category: int, seed: int, teachers: int, name: str
) -> EvaluationPlan:
    """Plan an evaluation over a view of a catalogue.

    Args:
        pairs: what trains (see `choose_held_out`).
        per_category: targets of each category, at most.
        teachers: clips of each category that teach a classifier, at most.
        name: of the snapshot, for sentences.

    Raises:
        NothingHeldOut: no clip is held out, or none has another of its category.
    """
    table = catalog.scan("clips", [*COLUMNS, "caption"], col("status") == Status.ACCEPTED)
    names = CategoryNames.load(catalog)
    if pairs.held_out_categories:
        ids = names.ids_of(pairs.held_out_categories, "pairs.held_out_categories")
        pairs = pairs.model_copy(update={"held_out_categories": ids})
    rows = {row["clip_id"]: row for row in table.to_pylist() if row["category_id"]}
    kinds = {row["category_id"] for row in rows.values()}
    held = [row for row in rows.values() if row["split"] in (Split.VAL, Split.OOD)]
    if not held:
        raise NothingHeldOut(
            f"Snapshot {name!r} holds no clip that is held out (split val or ood), and what a model was"
            " trained on says little. Hold some out with `video2lora cluster --set cluster.val_fraction=0.1`,"
            " `video2lora clip split val CLIP_ID` or `video2lora category hold-out NAME`, then evaluate that."
        )
    chosen = choose_held_out(_usable(table, held), pairs, per_category * max(1, len(kinds)))
    taken: dict[str, int] = {}
    cases = []
    for pair in chosen:
        if taken.get(pair.category, 0) < per_category:
            taken[pair.category] = taken.get(pair.category, 0) + 1
            row = rows[pair.target_id]
            cases.append(
                Case(
                    pair.target_id,
                    pair.same_id,
                    pair.other_id,
                    pair.category,
                    pair.other_category,
                    names.name_of(pair.category),
                    IN if pair.group == SEEN else OUT,
                    row["caption"] or "",
                    _seed(seed, pair.target_id),
                )
            )
    left_out = _left_out(held, rows, set(taken), names)
    if not cases:
        raise NothingHeldOut(
            f"No held-out clip of snapshot {name!r} can be generated for: "
            + "; ".join(f"{category}: {why}" for category, why in sorted(left_out.items())[:5])
            + ". Ingest more clips of these, and of two categories at least."
        )
    cases.sort(key=lambda case: (case.domain, case.name, case.target_id))
    targets = {case.target_id for case in cases}
    spare = sorted(
        (clip for clip, row in rows.items() if row["category_id"] in taken and clip not in targets),
        key=lambda clip: _hash(seed, "real", clip),
    )
    lessons: dict[str, str] = {}
    counts: dict[str, int] = {}
    for clip in sorted(rows, key=lambda clip: _hash(seed, "teacher", clip)):
        category = rows[clip]["category_id"]
        if clip not in targets and counts.get(category, 0) < teachers:
            counts[category] = counts.get(category, 0) + 1
            lessons[clip] = category
    others = {clip: rows[clip]["category_id"] for clip in spare[: len(cases)]}
    return EvaluationPlan(tuple(cases), others, lessons, left_out)


def _usable(table: pa.Table, held: Sequence[dict[str, Any]]) -> pa.Table:
    """The clips of held-out clips' categories, and a few of each other one: references come from these."""
    wanted = {row["category_id"] for row in held}
    seen: dict[str, int] = {}
    keep = []
    for category in table["category_id"].to_pylist():
        seen[category] = seen.get(category, 0) + 1
        keep.append(category in wanted or seen[category] <= 2)
    return table.filter(pa.array(keep)).select(list(COLUMNS))


def _left_out(
    held: Sequence[dict[str, Any]], rows: dict[str, dict[str, Any]], taken: set[str], names: CategoryNames
) -> dict[str, str]:
    """Why categories with held-out clips have no case."""
    sizes: dict[str, int] = {}
    for row in rows.values():
        sizes[row["category_id"]] = sizes.get(row["category_id"], 0) + 1
    said = {}
    for category in {row["category_id"] for row in held} - taken:
        if sizes[category] == 1:
            why = "it has one clip, and nothing that could be its reference"
        elif len(sizes) == 1:
            why = "there is no other category to compare it with"
        else:
            why = "its clips may not be paired (pairs.licences)"
        said[names.name_of(category)] = why
    return said


def _seed(seed: int, clip: str) -> int:
    return _hash(seed, "noise", clip) >> 2


def _hash(seed: int, *words: str) -> int:
    digest = hashlib.blake2b("/".join([str(seed), *words]).encode(), digest_size=8, person=b"evaluation")
    return int.from_bytes(digest.digest(), "big")
