"""The gate: losses of champion and challenger in, a verdict with its reasons out. Pure.

Both are measured on the same pairs with the same noise, so that what is compared is pairs' differences. Clips
of one category are not independent: the interval of the whole and that of the unseen ones draw categories
again. Each of L looks at a holdout has a confidence of 1 - (1 - c) / L: all together have c (Bonferroni).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.retraining.settings import RetrainSettings
from training.evaluation.intervals import Interval, relative_reduction

SEEN, UNSEEN = "seen", "unseen"
_RESAMPLES = 4000
# Below so many categories an interval over them is too narrow to be believed alone.
_FEW = 5


@dataclass(frozen=True)
class Losses:
    """What both models lose on the same pairs, one entry per pair.

    Attributes:
        champion, challenger: mean losses, float [n].
        categories: of the targets, by name.
        groups: SEEN or UNSEEN.
        pairs: names.
    """

    champion: np.ndarray
    challenger: np.ndarray
    categories: tuple[str, ...]
    groups: tuple[str, ...]
    pairs: tuple[str, ...]

    def of(self, chosen: Sequence[int]) -> "Losses":
        """The pairs at these places."""
        return Losses(
            self.champion[chosen],
            self.challenger[chosen],
            *(tuple(each[n] for n in chosen) for each in (self.categories, self.groups, self.pairs)),
        )


@dataclass(frozen=True)
class Check:
    """One thing that was asked: by what share the challenger's loss is lower, and what it had to be at least.

    Attributes:
        name: "whole", "unseen", or "category:NAME".
        least: that the interval's lower end must reach.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    pairs: int
    categories: int
    least: float
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Judged:
    """What the gate says: passed, why in sentences, and every check."""

    passed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]

    def figures(self) -> dict[str, Any]:
        """JSON."""
        return {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "checks": [asdict(c) for c in self.checks],
        }


def judge(losses: Losses, settings: RetrainSettings) -> Judged:
    """Whether the challenger may replace the champion.

    It may where its loss is lower by `delta` on the whole for sure, no category is worse by more than its
    margin and the unseen categories together are not worse. "For sure" is the lower end of the interval.

    Raises:
        BadFigures: losses that are not finite, or not of the same pairs.
    """
    every = range(len(losses.pairs))
    unseen = [n for n in every if losses.groups[n] == UNSEEN]
    level = 1 - (1 - settings.confidence) / settings.looks
    checks = [_check("whole", losses, settings.delta, level)]
    if unseen:
        checks.append(_check("unseen", losses.of(unseen), -settings.unseen_margin, level))
    for name in sorted(set(losses.categories)):
        own = losses.of([n for n in every if losses.categories[n] == name])
        margin = settings.margins.get(name, settings.margin)
        checks.append(_check(f"category:{name}", own, -margin, level))
    reasons = [check.sentence for check in checks if check.name in ("whole", "unseen") or not check.passed]
    if not unseen:
        reasons.append(
            "no category that never trained is in the holdout, so nothing is known of new effects: hold one"
            " out with `video2lora category hold-out NAME`, then `retrain --new-holdout`"
        )
    worse = sum(1 for check in checks if check.name.startswith("category:") and not check.passed)
    if not worse:
        reasons.append(f"none of {len(set(losses.categories))} categories is worse by more than its margin")
    return Judged(bool(unseen) and all(check.passed for check in checks), tuple(reasons), tuple(checks))


def _check(name: str, losses: Losses, least: float, level: float) -> Check:
    found, over = _interval(losses, level)
    # One pair, or one category: nothing is known of others, and the figure itself has to do.
    low = found.low if found.known else found.value
    passed = bool(low >= least)
    what = {"whole": "on the whole", "unseen": "of categories that never trained"}.get(
        name, f"of {name.partition(':')[2]}"
    )
    share = f"{abs(100 * found.value):.2f} % {'lower' if found.value >= 0 else 'higher'}"
    interval = f" ({100 * found.low:+.2f} to {100 * found.high:+.2f} % lower)" if found.known else ""
    asked = f"at least {100 * least:g} % lower" if least >= 0 else f"at most {-100 * least:g} % higher"
    few = f"; an interval over {over}" if over and name in ("whole", "unseen") else ""
    sentence = (
        f"{what} the loss is {share}{interval}, of {_counted(found.items, losses)}{few}; {asked} is asked "
        f"for, for sure: {'passed' if passed else 'not passed'}"
    )
    ends = (found.low, found.high) if found.known else (None, None)
    return Check(name, found.value, *ends, found.items, len(set(losses.categories)), least, passed, sentence)


def _interval(losses: Losses, level: float) -> tuple[Interval, str]:
    """Of the share by which the loss is lower; over categories, or over pairs where there is one category."""
    kinds = len(set(losses.categories))
    clusters = losses.categories if kinds > 1 else losses.pairs
    found = relative_reduction(losses.challenger, losses.champion, clusters, _RESAMPLES, level)
    if not math.isfinite(found.value):
        return found, ""
    return (
        found,
        "its pairs, for one category has no other"
        if kinds == 1
        else "so few is too narrow"
        if kinds < _FEW
        else "",
    )


def _counted(pairs: int, losses: Losses) -> str:
    kinds = len(set(losses.categories))
    return f"{pairs} pair{'s' * (pairs != 1)} of {kinds} categor{'ies' if kinds != 1 else 'y'}"


def named_margins(settings: RetrainSettings, names: Mapping[str, str]) -> RetrainSettings:
    """The settings with margins by the names that categories have now.

    Args:
        names: by category id; what is in neither keys nor values stays as it is.
    """
    margins = {names.get(key, key): value for key, value in settings.margins.items()}
    return settings.model_copy(update={"margins": margins})
