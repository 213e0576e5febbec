"""Which clips show a model at work: the effect of one on the first frame of another."""

from typing import Any

from lancedb.expr import col

from catalog.store import Catalog
from catalog.vocabulary import Split, Status


def choose_examples(catalog: Catalog, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(reference, target) rows of `clips` of up to `count` categories, the first by name.

    Where categories are out of domain, the last one is of those: what a model does with an effect on which
    nobody trained it. The target comes from another category than the reference, so that what its first frame
    then does is the reference's doing; one that was not trained on where there is one.
    """
    columns = ["clip_id", "category_id", "caption", "split"]
    rows = catalog.scan("clips", columns, col("status") == Status.ACCEPTED).to_pylist()
    rows = sorted((row for row in rows if row["category_id"]), key=lambda row: row["clip_id"])
    members: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        members.setdefault(row["category_id"], []).append(row)
    order = sorted(members)
    unseen = [name for name in order if all(row["split"] == Split.OOD for row in members[name])]
    seen = [name for name in order if name not in unseen]
    wanted = [*seen[: count - bool(unseen)], *unseen][:count]
    examples = []
    for category in wanted:
        other = members[order[(order.index(category) + 1) % len(order)]]
        target = next((row for row in other if row["split"] != Split.TRAIN), other[-1])
        if target is not members[category][0]:
            examples.append((members[category][0], target))
    return examples
