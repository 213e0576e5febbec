"""What the comparison of methods asks of each: losses, generated clips, costs, on the same rows."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.pocket.families import PocketBackbone
from pipeline.pocket.pairs import Pairs
from tests.benchmarks.learning import Findings, Verdict
from tests.benchmarks.learning_judges import Judges
from tests.benchmarks.learning_measures import Row, Way, adapters_of, decoded, gaps, generated
from tests.benchmarks.methods_claims import NONE
from tests.benchmarks.methods_cost import bytes_of, held_bytes, peak_bytes, seconds_of, trained_bytes
from tests.benchmarks.methods_kept import Kept
from tests.benchmarks.methods_page import Cell, Strip
from tests.benchmarks.methods_table import Between, Line
from tests.benchmarks.methods_taught import OURS, PARTS, School, Taught
from training.evaluation.transfer_gap import PairLosses
from training.methods.base import Condition, Method
from training.release import method_settings, shipped_model, take_release
from training.settings import PolishSettings

NAMED, POLISHED, SHIPPED = f"{NONE}, told the effect", f"{OURS}, polished", f"{OURS}, as shipped"
REAL = "real clips through the VAE"
SHOWN = 4  # rows of each group, and edits, on the page


@dataclass(frozen=True)
class Contender:
    """One way to make a clip of a reference; `condition` makes of rows what their targets are made under."""

    name: str
    method: Method
    taught: Taught | None = None
    condition: Callable[[Sequence[Row]], Condition] | None = None
    polished: int = 0
    told: bool = False  # the effect's name


@dataclass
class Comparison:
    """What was measured so far on one backbone."""

    arguments: argparse.Namespace
    backbone: PocketBackbone
    held: Pairs
    rows: dict[str, list[Row]]
    judges: Judges
    kept: Kept
    said: Callable[[str], None]
    findings: Findings
    lines: dict[str, Line] = field(default_factory=dict)
    strips: dict[tuple[str, int], list[Cell]] = field(default_factory=dict)

    def ask(self, who: Contender) -> None:
        """Losses, generated clips and costs of one contender."""
        line = self.lines[who.name] = Line()
        steps = who.taught and who.taught.steps
        for group, rows in self.rows.items():
            made = self.kept.arrays(lambda rows=rows: self._made(who, rows), who.name, steps, rows)
            if "same" in made:
                ids = tuple(f"{target}<-{right}" for target, right, _ in rows)
                losses = PairLosses(ids, made["same"], made["other"], made["none"])
                self.findings.losses[who.name, group] = [losses]
                self._keep(line, "gap", group, self.findings.gap(who.name, group)["gap"])
            self.judge(who.name, group, rows, made["clips"])
        row = self.rows["seen"][:1]
        for name, value in self.kept.facts(lambda: self._costs(who, row), who.name, steps, row).items():
            setattr(line, name, value)

    def real(self) -> None:
        """What the classifier finds in the rows' references themselves, through the VAE."""
        for group, rows in self.rows.items():
            latents = self.held.encoded.mean[[row[1] for row in rows]]
            made = self.kept.arrays(lambda latents=latents: self._stacked(latents), REAL, rows)
            self.judge(REAL, group, rows, made["clips"])

    def judge(self, name: str, group: str, rows: Sequence[Row], clips: np.ndarray) -> None:
        """What the classifier finds in clips [n, 49, H, W, 3] that were generated for these rows."""
        wanted = [self.held.category_of(row[1]) for row in rows]
        found = self.judges.effects([torch.from_numpy(clip) for clip in clips])
        self.findings.verdicts[name, group] = [
            Verdict(*each, None) for each in zip(wanted, found, strict=True)
        ]
        accuracy = self.findings.accuracy(name, group)
        line = self.lines.setdefault(name, Line())
        self._keep(line, "found", group, [accuracy[key] for key in ("effect", "low", "high")])
        for place, (clip, right, other) in enumerate(zip(clips, wanted, found, strict=True)):
            note = "" if right == other else f"taken for {other}"
            self.strips.setdefault((group, place), []).append(Cell(name, clip, note, wrong=right != other))
        self.said(f"{name}, {group}: effect found in {accuracy['effect']:.1%}")

    def _keep(self, line: Line, what: str, group: str, values: Sequence[float]) -> None:
        setattr(line, f"{what}_{'seen' if group == 'seen' else 'unseen'}", between(*values))

    def _made(self, who: Contender, rows: Sequence[Row]) -> Mapping[str, Any]:
        condition, losses = None, {}
        if who.condition is not None:
            condition = who.condition(rows)
            turned = [(target, wrong, right) for target, right, wrong in rows]
            made = (condition, who.condition(turned)) if isinstance(condition, Tensor) else None
            losses = asdict(gaps(who.method, self.held, rows, seed=0, made=made))
            losses.pop("pair_ids")
        return losses | {"clips": torch.stack(self._generated(who, rows, condition)).numpy()}

    def _stacked(self, latents: Tensor) -> Mapping[str, Any]:
        return {"clips": torch.stack(decoded(self.backbone, latents.float())).numpy()}

    def _generated(self, who: Contender, rows: Sequence[Row], condition: Condition | None) -> list[Tensor]:
        arguments = self.arguments
        guidance = arguments.guidance if condition is not None or who.told else 1.0
        return generated(
            self.backbone,
            who.method,
            self.held,
            rows,
            condition,
            arguments.denoise,
            guidance,
            who.told,
        )

    def _costs(self, who: Contender, row: Sequence[Row]) -> dict[str, Any]:
        """Fields of a `Line`."""
        device, found, condition = self.held.device, {}, None
        if who.taught is not None:
            found = {"steps": who.taught.steps, "trained": round(who.taught.seconds, 1)}
            found["learned"] = trained_bytes(who.method)
        if who.condition is not None:
            adapt = who.condition
            condition = adapt(row)
            found |= {"stored": bytes_of(condition), "adapt": seconds_of(lambda: adapt(row), device)}
        model = self.backbone.transformer if who.condition is None else who.method
        weights = held_bytes(model, self.backbone.vae)
        found["generate"] = seconds_of(lambda: self._generated(who, row, condition), device, times=1)
        found["held"] = weights + peak_bytes(lambda: self._generated(who, row, condition), device)
        return found

    def pages(self) -> dict[str, list[Strip]]:
        """Strips of each group, a reference before what was made of it."""
        found: dict[str, list[Strip]] = {}
        title = self.backbone.title
        for group, rows in self.rows.items():
            chosen = range(0, len(rows), max(1, len(rows) // SHOWN))[:SHOWN]
            for place in chosen:
                reference = decoded(self.backbone, self.held.encoded.mean[[rows[place][1]]].float())[0]
                cells = [Cell("reference", reference.numpy()), *self.strips[group, place]]
                named = f"{self.held.category_of(rows[place][1])}, {group}, on {title}"
                found.setdefault(f"Effects, {group}, on {title}", []).append(Strip(named, cells))
        return found


def between(value: float, low: float, high: float) -> Between:
    """A figure and its interval; JSON has no infinity."""
    known = low > -float("inf")
    return value, low if known else None, high if known else None


def contenders(school: School, held: Pairs, polish: int, said: Callable[[str], None]) -> list[Contender]:
    """All that is compared on a backbone, each taught."""
    taught: dict[str, Taught] = {}
    for name in school.methods:
        taught[name] = school.teach(name)
        said(f"{name}: {taught[name].steps} steps in {taught[name].seconds:.0f} s")
    ours = taught.pop(OURS)

    def adapters(way: Way) -> Callable[[Sequence[Row]], Condition]:
        return lambda rows: adapters_of(ours.method, held, rows, way, school.pairs, PolishSettings())

    @torch.no_grad()
    def read(method: Method, rows: Sequence[Row]) -> Condition:
        return method.condition(held.references([row[1] for row in rows]))

    return [
        Contender(NONE, ours.method),
        Contender(OURS, ours.method, ours, adapters(Way())),
        Contender(POLISHED, ours.method, ours, adapters(Way(steps=polish)), polish),
        *(
            Contender(name, each.method, each, lambda rows, method=each.method: read(method, rows))
            for name, each in taught.items()
        ),
        *as_shipped(school, held, said),
        Contender(NAMED, ours.method, told=True),
    ]


def as_shipped(school: School, held: Pairs, said: Callable[[str], None]) -> list[Contender]:
    """The hypernetwork that comes with the backbone, which had other seconds, where that is the backbone and
    what is unseen here was unseen there."""
    release = shipped_model()
    if release.facts.get("transformer") != school.backbone.transformer_id:
        return []
    if taught := held.unseen.intersection(held.categories).intersection(release.facts["categories"]):
        said(f"{SHIPPED}: left out, it was taught {len(taught)} of the categories that are unseen here")
        return []
    method = school.built(method_settings(release))
    take_release(release, method)
    lessons = release.facts["lessons"]
    told = " + ".join(str(lessons[name]) for name in PARTS)
    shipped = Taught(method.eval(), told, release.facts["seconds"])
    way = Way()

    def condition(rows: Sequence[Row]) -> Condition:
        return adapters_of(method, held, rows, way, school.pairs, PolishSettings())

    return [Contender(SHIPPED, method, shipped, condition)]
