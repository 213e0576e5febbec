"""What a person chose, of pairs shown without a word of whose they are."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.evaluation.figures import ALL, SLICES
from training.evaluation.intervals import mean_interval

LEFT, RIGHT, SAME = "left", "right", "same"
# A page of ten thousand pairs makes half a megabyte.
LARGEST = 4 * 2**20


class BadChoices(PipelineError):
    """A file of choices that cannot be read as such, or that belongs to another comparison."""


def read_choices(file: Path) -> dict[str, Any]:
    """The file that a blind page gave: `comparison`, `choices` (pair → left, right, same), maybe `person`.

    Raises:
        BadChoices: it is missing, too large, or of another shape.
    """
    again = "Name the file that the blind page of a comparison gave you."
    try:
        if file.stat().st_size > LARGEST:
            raise BadChoices(f"{file} is too large for a file of choices. {again}")
        said = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise BadChoices(f"{file} cannot be read: {error.strerror}. {again}") from error
    except ValueError as error:
        raise BadChoices(f"{file} is no JSON ({error}). {again}") from error
    choices = said.get("choices") if isinstance(said, dict) else None
    if not isinstance(choices, dict) or not isinstance(said.get("comparison"), str):
        raise BadChoices(f"{file} holds no choices of a comparison. {again}")
    if wrong := [value for value in choices.values() if value not in (LEFT, RIGHT, SAME)]:
        raise BadChoices(
            f"{file} has a choice {str(wrong[0])[:40]!r}; one is {LEFT}, {RIGHT} or {SAME}. {again}"
        )
    if not choices:
        raise BadChoices(f"{file} holds no choice yet. Choose on the page, then download it again.")
    return said


def judged(comparison: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """How often the first model's clip was chosen, a tie being half a win, with intervals over categories.

    Args:
        comparison: as `compare` gives it.
        said: as `read_choices` gives it.

    Raises:
        BadChoices: choices of another comparison, or of pairs that it does not have.
    """
    if said["comparison"] != comparison["id"]:
        raise BadChoices(
            f"The choices are of comparison {said['comparison'][:40]!r}, this is {comparison['id']!r}: they"
            " were made on other clips, and say nothing of these."
        )
    pairs = {pair["pair"]: pair for pair in comparison["pairs"]}
    if unknown := sorted(set(said["choices"]) - set(pairs)):
        raise BadChoices(
            f"Comparison {comparison['id']} has no pair {unknown[0][:40]!r}: the file is of other clips."
        )
    wins = {name: _win(choice, pairs[name]["left"]) for name, choice in said["choices"].items()}
    found: dict[str, Any] = {"person": str(said.get("person") or "somebody")[:80], "of": len(pairs)}
    for part in SLICES:
        names = [name for name in sorted(wins) if part in (ALL, pairs[name]["domain"])]
        categories = [pairs[name]["category"] for name in names]
        found[part] = mean_interval([wins[name] for name in names], categories).to_dict() if names else None
    return found


def _win(choice: str, left: int) -> float:
    """1 where the first model's clip was chosen; `left` is the place of the model whose clip was left."""
    if choice == SAME:
        return 0.5
    return float((choice == LEFT) == (left == 0))
