"""What a run did, beside what stood before it."""

from collections.abc import Iterator, Mapping
from typing import Any


def done_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(step, what this run did, what stood before) of the steps that the report tells of."""
    counts, stood = report["counts"], report.get("stood", {})
    if "found" in counts:
        decoded = counts.get("decoded", counts["found"])
        yield "inputs", f"{decoded} decoded", f"{counts['found'] - decoded} known"
    for name in ("embedded", "encoded"):
        if name in counts:
            yield f"clips {name}", str(counts[name]), str(stood.get(name, 0))
    if training := report.get("training"):
        before = min(training["resumed_from"], training["steps"])
        yield "training steps", str(training["steps"] - before), str(before)
    if generated := report.get("generated"):
        kept = sum(each.get("kept", False) for each in generated)
        yield "clips generated", str(len(generated) - kept), str(kept)
