"""The transfer gap in words, for the log and the page."""

from collections.abc import Iterator, Mapping


def gap_rows(evaluation: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """(what, how much) for categories trained on and for those held out, where pairs of them were measured.

    Args:
        evaluation: `gap_seen` with its `_low` and `_high` and `pairs_seen`; the same with `unseen`.
    """
    for group in ("seen", "unseen"):
        if (gap := evaluation.get(f"gap_{group}")) is None:
            continue
        pairs = int(evaluation[f"pairs_{group}"])
        text = f"{100 * gap:.2f} %"
        if pairs == 1:
            text += ", of one held-out pair: too few for an interval"
        else:
            low, high = (100 * evaluation[f"gap_{group}_{end}"] for end in ("low", "high"))
            text += f" ({low:.2f} to {high:.2f}), of {pairs} held-out pairs"
        yield f"transfer gap, {group} categories", text
