"""What the papers say of their methods, and what the comparison's own figures say to it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.learning import Verdict
from tests.benchmarks.methods_taught import CATEGORY, OURS, PROMPT
from training.evaluation.intervals import Interval, paired_difference

AGREES, CONTRADICTS, OPEN = "agrees", "contradicts", "cannot be told apart"
NONE, LORA_EDIT, FROZEN = "no adapter", "LoRA-Edit", "frozen Wan, masked"


@dataclass(frozen=True)
class Claim:
    """A paper's claim and our answer, which is `difference` and nothing else."""

    paper: str
    says: str
    here: str
    answer: str
    difference: list[float | None]

    def sentence(self) -> str:
        """For a page."""
        return f"{self.paper}: {self.says}. Here: {self.here}. This {self.answer_in_words}."

    @property
    def answer_in_words(self) -> str:
        return {AGREES: "agrees", CONTRADICTS: "contradicts it", OPEN: "leaves it open"}[self.answer]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def of_effects(
    verdicts: Mapping[tuple[str, str], Sequence[Verdict]], polished: str, where: str
) -> list[Claim]:
    """Of how often the effect was found, by (method, group), on the backbone `where`; all methods were asked
    about the same rows. Of a method that does not take the backbone nothing is said."""

    def apart(one: str, other: str, group: str) -> Interval:
        found = [[float(v.wanted == v.found) for v in verdicts[name, group]] for name in (one, other)]
        return paired_difference(*found, [v.wanted for v in verdicts[one, group]])

    def claim(paper: str, says: str, one: str, other: str, group: str) -> Claim | None:
        if not {(one, group), (other, group)} <= verdicts.keys():
            return None
        said = f"effect found on {where}, {group}: {one} minus {other}"
        return _claim(paper, says, said, apart(one, other, group), 100, "points")

    unseen = next(group for _, group in verdicts if group != "seen")
    claims = [
        claim(
            "Video-As-Prompt (2510.20888)",
            "a reference in context does better than one LoRA per effect (alignment 70.44 against 68.60,"
            " preferred 38.7 % against 13.1 %)",
            PROMPT,
            CATEGORY,
            "seen",
        ),
        claim(
            "Video-As-Prompt (2510.20888)",
            "it performs effects that it was not taught",
            PROMPT,
            NONE,
            unseen,
        ),
        claim(
            "Video2LoRA (2603.08210)",
            "an adapter predicted from one clip performs that clip's effect, also one never taught",
            OURS,
            NONE,
            unseen,
        ),
        claim(
            "Video2LoRA (2603.08210)",
            "no fitting to the reference is needed",
            OURS,
            polished,
            unseen,
        ),
    ]
    return [each for each in claims if each is not None]


def of_edits(found: Mapping[str, Sequence[Mapping[str, float]]], effects: Sequence[str]) -> list[Claim]:
    """Of LoRA-Edit against the frozen Wan under the same masks, by measure."""

    def apart(measure: str) -> Interval:
        ours, theirs = ([each[measure] for each in found[name]] for name in (LORA_EDIT, FROZEN))
        return paired_difference(ours, theirs, effects)

    paper = "LoRA-Edit (2506.10082)"
    return [
        _claim(
            paper,
            "with its LoRA the mask preserves the background",
            "background PSNR, LoRA-Edit minus the frozen Wan under the same mask",
            apart("background"),
            1,
            "dB",
        ),
        _claim(
            paper,
            "the edit of the first frame is carried through the clip",
            "reach, LoRA-Edit minus the frozen Wan under the same mask",
            apart("reach"),
            100,
            "points",
        ),
    ]


def _claim(paper: str, says: str, here: str, found: Interval, scale: float, unit: str) -> Claim:
    answer = OPEN
    if found.known and found.low > 0:
        answer = AGREES
    if found.known and found.high < 0:
        answer = CONTRADICTS
    ends = [scale * found.low, scale * found.high] if found.known else [None, None]
    between = f" ({ends[0]:+.1f} to {ends[1]:+.1f})" if found.known else ""
    told = f"{here}: {scale * found.value:+.1f} {unit}{between}"
    return Claim(paper, says, told, answer, [scale * found.value, *ends])
