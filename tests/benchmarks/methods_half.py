"""One backbone's half of the comparison of methods: what takes it is taught, asked, and given edits."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from pipeline.embedding.embedder import Embedder
from pipeline.embedding.settings import EmbedSettings
from pipeline.pocket.backbone import POCKET_SHAPE, known_categories, working_folder
from pipeline.pocket.families import PocketBackbone
from pipeline.pocket.hypernetwork import Lessons, pocket_settings
from pipeline.pocket.pairs import TEST_FROM, TRAIN_FROM, Pairs, renders_of
from pipeline.samples.render import EDITION
from pipeline.samples.splits import unseen_of
from tests.benchmarks.learning import Findings
from tests.benchmarks.learning_judges import Judges
from tests.benchmarks.learning_measures import chosen_rows, groups_of
from tests.benchmarks.methods_asked import (
    NAMED,
    POLISHED,
    SHIPPED,
    SHOWN,
    Comparison,
    Contender,
    between,
    contenders,
)
from tests.benchmarks.methods_claims import FROZEN, LORA_EDIT, Claim, of_edits, of_effects
from tests.benchmarks.methods_edits import MEASURES, Case, InContext, cases, measured
from tests.benchmarks.methods_kept import Kept
from tests.benchmarks.methods_page import Cell, Strip
from tests.benchmarks.methods_table import Line
from tests.benchmarks.methods_taught import School
from tests.benchmarks.methods_wan import OnWan
from training.backbones.registry import load_backbone, locate_backbone
from training.backbones.settings import BackboneSettings
from training.evaluation.intervals import mean_interval
from training.methods.registry import editing
from training.settings import EditSettings

PUT_BACK, INPUT = f"{LORA_EDIT}, put back", "the input through the VAE"


@dataclass
class Half:
    """What was found on one backbone, whose name stands before each way's."""

    lines: dict[str, Line] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    edits: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    sections: dict[str, list[Strip]] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What both halves have in common: what all backbones know, of it the categories that are asked about by
    group, and where things are kept."""

    arguments: argparse.Namespace
    lessons: Lessons
    known: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    work: Path
    began: float

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(name for names in self.groups.values() for name in names)

    def judges(self) -> Judges:
        """Who names the effects of clips."""
        arguments = self.arguments
        epochs = 1 if arguments.quick else 14
        device = torch.device(arguments.device)
        return Judges.trained(self.categories, self.work / "judges", device, arguments.renders, epochs)

    def pairs(self, backbone: PocketBackbone) -> tuple[Pairs, Pairs]:
        """Clips that teach, and held-out ones."""
        wanted = (None, self.categories, self.lessons.precision, unseen_of(self.known))
        training, held = (
            Pairs.load(backbone, self.work, first, count, *wanted) for first, count in self._counts.items()
        )
        return training, held

    def rendered(self) -> None:
        """Render the clips of `pairs`, so that no two backbones do it at once."""
        for first, count in self._counts.items():
            renders_of(self.work, first, count, self.categories).fill()

    @property
    def _counts(self) -> dict[int, int]:
        return {TRAIN_FROM: self.lessons.clips, TEST_FROM: self.arguments.rows + 1}

    def said(self, text: str) -> None:
        print(f"{time.time() - self.began:6.0f} s  {text}", flush=True)


def settings_of(arguments: argparse.Namespace, family: str) -> BackboneSettings:
    """The backbone of a family that was asked for."""
    return pocket_settings(getattr(arguments, family), family)


def asked_of(arguments: argparse.Namespace, lessons: Lessons) -> Asked:
    """Categories that all backbones know by name; raises SystemExit where too few are known to all."""
    knows = {
        family: known_categories(locate_backbone(settings_of(arguments, family)).folder)
        for family in arguments.backbones
    }
    first, *others = knows.values()
    known = tuple(name for name in first if all(name in other for other in others))
    counts = {"seen": arguments.seen}
    groups = {
        name: spread(names, counts.get(name, arguments.unseen))
        for name, names in groups_of("development", known).items()
    }
    if len(groups["seen"]) < 2 or sum(map(len, groups.values())) == len(groups["seen"]):
        raise SystemExit(
            f"The backbones {' and '.join(knows)} know too few of the same categories to be asked about seen"
            " and unseen ones: name others, or one of them with --backbones."
        )
    return Asked(arguments, lessons, known, groups, working_folder(arguments.work, known), time.time())


def spread(names: Sequence[str], count: int | None) -> tuple[str, ...]:
    """So many of them, spread over all."""
    if count is None or count >= len(names):
        return tuple(names)
    return tuple(names[place * len(names) // count] for place in range(count))


def half(asked: Asked, family: str) -> Half:
    """Teach and ask all that takes the backbone of a family; what was made before is not made again."""
    arguments = asked.arguments
    backbone = load_backbone(settings_of(arguments, family), device=arguments.device)
    title = backbone.title

    def said(text: str) -> None:
        asked.said(f"{title}: {text}")

    training, held = asked.pairs(backbone)
    said("clips encoded")
    school = School(backbone, training, asked.lessons, arguments.seconds, asked.work)
    found = contenders(school, held, arguments.polish, said)
    if arguments.quick:
        found = [who for who in found if who.name not in (NAMED, SHIPPED)]
    rows = {group: chosen_rows(held, names, 0, arguments.rows) for group, names in asked.groups.items()}
    if arguments.quick:
        rows = {group: each[:1] for group, each in rows.items()}
    decides = (school.digest(EDITION), held.numbers[0], asked.categories)
    decides += (arguments.denoise, arguments.guidance, arguments.polish)
    kept = Kept(asked.work / "made", decides)
    comparison = Comparison(
        arguments, backbone, held, rows, asked.judges(), kept, said, Findings(asked.categories)
    )
    result = Half()
    if arguments.only != "edits":
        comparison.real()
        for who in found:
            comparison.ask(who)
        result.claims += of_effects(comparison.findings.verdicts, POLISHED, title)
        result.sections |= comparison.pages()
    if arguments.edits and arguments.only != "effects":
        edited(cases(arguments.edits, TEST_FROM, POCKET_SHAPE), found, comparison, result)
    result.lines = {f"{title}: {name}": line for name, line in comparison.lines.items()}
    return result


def edited(asked: Sequence[Case], found: Sequence[Contender], comparison: Comparison, result: Half) -> None:
    """The edits under every method that takes the backbone: measures, claims and strips for the page."""
    arguments, backbone, lines = comparison.arguments, comparison.backbone, comparison.lines
    kept, said, title = comparison.kept, comparison.said, comparison.backbone.title
    clips = {INPUT: [backbone.decode(backbone.encode_video(case.frames)[0]).numpy() for case in asked]}
    for who in found:
        if who.told:
            continue
        method = None if who.condition is None else who.method
        carried = InContext(backbone, method, arguments.denoise, arguments.guidance, who.polished)
        steps = who.taught and who.taught.steps
        clips[who.name] = [
            kept.arrays(lambda case=case, carried=carried: {"clip": carried.made(case)}, *what)["clip"]
            for case, what in ((case, ("edit", who.name, steps, n)) for n, case in enumerate(asked))
        ]
        said(f"{who.name}: edits")
    if backbone.settings.family in editing(rank=1).families:
        clips |= fitted(asked, comparison)
    effects = [case.effect for case in asked]
    look = Embedder(EmbedSettings(model="pocket", pretrained="pocket", frames=16), arguments.device)
    measures = {
        name: [measured(case, clip, look) for case, clip in zip(asked, made, strict=True)]
        for name, made in clips.items()
    }
    for name, each in measures.items():
        line = lines.setdefault(name, Line())
        for measure in MEASURES:
            whole = mean_interval([one[measure] for one in each], effects)
            setattr(line, measure, between(whole.value, whole.low, whole.high))
    if LORA_EDIT in measures:
        result.claims += of_edits(measures, effects)
    result.edits = {f"{title}: {name}": each for name, each in measures.items()}
    result.sections[f"Edits on {title}: input, then each way with its reach"] = [
        Strip(
            f"{case.effect} on {title}: {case.caption} Edited: {case.prompt}",
            [
                Cell("input", case.frames),
                *(Cell(name, clips[name][place], f"{measures[name][place]['reach']:.0%}") for name in clips),
            ],
        )
        for place, case in enumerate(asked[:SHOWN])
    ]


def fitted(asked: Sequence[Case], comparison: Comparison) -> dict[str, list]:
    """The clips of the method that is fitted to each edit, and of its backbone under the same mask."""
    arguments, lines = comparison.arguments, comparison.lines
    edit = EditSettings(sampling_steps=arguments.denoise, guidance=1.0, put_back=False)
    with TemporaryDirectory() as folder:
        wan = OnWan(comparison.backbone.settings, edit, Path(folder), comparison.kept)
        steps = 2 if arguments.quick else wan.steps_in(asked[0], arguments.seconds / len(asked))
        ways = {LORA_EDIT: wan.fitted(asked, steps), FROZEN: wan.frozen(asked)}
    clips = {}
    for name, made in ways.items():
        clips[name] = made.clips
        lines[name] = Line(generate=made.generate, held=made.held)
        if made.steps:
            told = f"{made.steps} each"
            lines[name] = replace(
                lines[name], steps=told, trained=made.adapt * len(asked), stored=made.stored, adapt=made.adapt
            )
        comparison.said(f"{name}: edits")
    clips[PUT_BACK] = wan.put_back(asked, clips[LORA_EDIT])
    return clips
