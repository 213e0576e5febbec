"""What the comparison of methods asks of each: losses, generated clips, costs, on the same rows."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jobs.console import step as shown_step
from pipeline.pocket.pairs import Pairs
from tests.benchmarks.learning import Findings, Verdict
from tests.benchmarks.learning_judges import Judges
from tests.benchmarks.learning_measures import Row, Way, adapters_of, decoded, gaps, generated
from tests.benchmarks.methods_claims import NONE
from tests.benchmarks.methods_cost import bytes_of, held_bytes, peak_bytes, seconds_of, trained_bytes
from tests.benchmarks.methods_page import Cell, Strip
from tests.benchmarks.methods_table import Between, Line
from tests.benchmarks.methods_taught import CATEGORY, OURS, PARTS, PROMPT, School, Taught
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.methods.base import Condition, Method
from training.release import method_settings, shipped_model, take_release
from training.settings import PolishSettings

NAMED, POLISHED, SHIPPED = f"{NONE}, told the effect", f"{OURS}, polished", f"{OURS}, as shipped"
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
    """What was measured so far."""

    arguments: argparse.Namespace
    backbone: CogVideoXBackbone
    held: Pairs
    rows: dict[str, list[Row]]
    judges: Judges
    said: Callable[[str], None]
    findings: Findings
    lines: dict[str, Line] = field(default_factory=dict)
    strips: dict[tuple[str, int], list[Cell]] = field(default_factory=dict)

    def ask(self, who: Contender) -> None:
        """Losses, generated clips and costs of one contender."""
        line = self.lines[who.name] = Line()
        for group, rows in self.rows.items():
            condition = None if who.condition is None else who.condition(rows)
            if who.condition is not None:
                turned = [(target, wrong, right) for target, right, wrong in rows]
                made = (condition, who.condition(turned)) if isinstance(condition, Tensor) else None
                losses = [gaps(who.method, self.held, rows, seed=0, made=made)]
                self.findings.losses[who.name, group] = losses
                self._keep(line, "gap", group, self.findings.gap(who.name, group)["gap"])
            clips = self._generated(who, rows, condition)
            self.judge(who.name, group, rows, clips)
        self._costs(who, line)

    def judge(self, name: str, group: str, rows: Sequence[Row], clips: Sequence[Tensor]) -> None:
        """What the classifier finds in clips that were generated for these rows."""
        wanted = [self.held.category_of(row[1]) for row in rows]
        found = self.judges.effects(clips)
        self.findings.verdicts[name, group] = [
            Verdict(*each, None) for each in zip(wanted, found, strict=True)
        ]
        accuracy = self.findings.accuracy(name, group)
        line = self.lines.setdefault(name, Line())
        self._keep(line, "found", group, [accuracy[key] for key in ("effect", "low", "high")])
        for place, (clip, right, other) in enumerate(zip(clips, wanted, found, strict=True)):
            note = "" if right == other else f"taken for {other}"
            self.strips.setdefault((group, place), []).append(
                Cell(name, clip.numpy(), note, wrong=right != other)
            )
        self.said(f"{name}, {group}: effect found in {accuracy['effect']:.1%}")

    def _keep(self, line: Line, what: str, group: str, values: Sequence[float]) -> None:
        setattr(line, f"{what}_{'seen' if group == 'seen' else 'unseen'}", between(*values))

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

    def _costs(self, who: Contender, line: Line) -> None:
        device = self.held.device
        row = self.rows["seen"][:1]
        condition = None
        if who.taught is not None:
            line.steps, line.trained = who.taught.steps, round(who.taught.seconds, 1)
            line.learned = trained_bytes(who.method)
        if who.condition is not None:
            adapt = who.condition
            condition = adapt(row)
            line.stored = bytes_of(condition)
            line.adapt = seconds_of(lambda: adapt(row), device)
        model = self.backbone.transformer if who.condition is None else who.method
        weights = held_bytes(model, self.backbone.vae)
        line.generate = seconds_of(lambda: self._generated(who, row, condition), device, times=1)
        line.held = weights + peak_bytes(lambda: self._generated(who, row, condition), device)

    def pages(self) -> dict[str, list[Strip]]:
        """Strips of each group, a reference before what was made of it."""
        found: dict[str, list[Strip]] = {}
        for group, rows in self.rows.items():
            chosen = range(0, len(rows), max(1, len(rows) // SHOWN))[:SHOWN]
            for place in chosen:
                reference = decoded(self.backbone, self.held.encoded.mean[[rows[place][1]]].float())[0]
                cells = [Cell("reference", reference.numpy()), *self.strips[group, place]]
                title = f"{self.held.category_of(rows[place][1])}, {group}"
                found.setdefault(f"Effects, {group}", []).append(Strip(title, cells))
        return found


def between(value: float, low: float, high: float) -> Between:
    """A figure and its interval; JSON has no infinity."""
    known = low > -float("inf")
    return value, low if known else None, high if known else None


def contenders(school: School, held: Pairs, polish: int) -> list[Contender]:
    """All that is compared, each taught."""
    taught = {}
    for name in (OURS, PROMPT, CATEGORY):
        with shown_step(name) as progress:
            taught[name] = school.teach(name, progress)
    ours = taught[OURS].method

    def adapters(way: Way) -> Callable[[Sequence[Row]], Condition]:
        return lambda rows: adapters_of(ours, held, rows, way, school.pairs, PolishSettings())

    @torch.no_grad()
    def read(method: Method, rows: Sequence[Row]) -> Condition:
        return method.condition(held.references([row[1] for row in rows]))

    return [
        Contender(NONE, ours),
        Contender(OURS, ours, taught[OURS], adapters(Way())),
        Contender(POLISHED, ours, taught[OURS], adapters(Way(steps=polish)), polish),
        *(
            Contender(
                name, taught[name].method, taught[name], lambda rows, m=taught[name].method: read(m, rows)
            )
            for name in (PROMPT, CATEGORY)
        ),
        *as_shipped(school, held),
        Contender(NAMED, ours, told=True),
    ]


def as_shipped(school: School, held: Pairs) -> list[Contender]:
    """The hypernetwork that comes with the backbone, which had other seconds, where that is the backbone."""
    release = shipped_model()
    if release.facts.get("transformer") != school.backbone.transformer_id:
        return []
    method = school.built(method_settings(release))
    take_release(release, method)
    lessons = release.facts["lessons"]
    told = " + ".join(str(lessons[name]) for name in PARTS)
    taught = Taught(method.eval(), told, release.facts["seconds"])
    way = Way()

    def condition(rows: Sequence[Row]) -> Condition:
        return adapters_of(method, held, rows, way, school.pairs, PolishSettings())

    return [Contender(SHIPPED, method, taught, condition)]
