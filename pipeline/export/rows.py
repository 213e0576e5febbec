"""Which clips are exported and what is said of each; what is left out, and why."""

from collections import Counter
from dataclasses import dataclass, field

from lancedb.expr import Expr, col

from catalog.curation.clips import out_of_domain
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import NO_LICENCE, Split, Status

COLUMNS = ("caption", "split", "licence", "licence_evidence", "source", "generator")


@dataclass
class Exported:
    """The clips of an export.

    Attributes:
        rows: by clip id: `clip_id`, `label` (the category's name), `category_id` and `COLUMNS`.
        left_out: how many clips each reason kept out: `licence:NAME`, `split:NAME`, `out of domain`.
    """

    rows: list[dict]
    left_out: dict[str, int] = field(default_factory=dict)


def exported(
    catalog: Catalog,
    where: Expr | None,
    licences: tuple[str, ...] | None,
    splits: tuple[str, ...] | None,
    trains: bool,
) -> Exported:
    """The accepted clips that pass the gate.

    Args:
        catalog: a view of a snapshot.
        where: only these clips.
        licences: only of these terms; an unstated one is named "unknown". None takes all.
        splits: only these; None takes all.
        trains: whether somebody trains on the export: then nothing of a category that is out of domain.
    """
    names = CategoryNames.load(catalog)
    used = col("status") == Status.ACCEPTED
    columns = ["clip_id", "category_id", *COLUMNS]
    held_out = out_of_domain(catalog)
    rows, left_out = [], Counter()
    for row in catalog.scan("clips", columns, used if where is None else used & where).to_pylist():
        licence = row["licence"] or NO_LICENCE
        if licences is not None and licence not in licences:
            left_out[f"licence {licence}"] += 1
        elif trains and (row["split"] == Split.OOD or names.kept(row["category_id"]) in held_out):
            left_out["out of domain"] += 1
        elif splits is not None and row["split"] not in splits:
            left_out[f"split {row['split'] or 'none'}"] += 1
        else:
            rows.append({"clip_id": row["clip_id"], "label": names.name_of(row["category_id"])} | row)
    return Exported(sorted(rows, key=lambda row: row["clip_id"]), dict(left_out))
