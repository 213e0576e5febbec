"""Does the hypernetwork learn? Gap, benefit and the effects of generated clips, on the pocket backbone.

`python -m tests.benchmarks.learning [--quick] [--split test]`. Video2LoRA is taught with procedural pairs of
the seen categories (`pipeline.samples.splits`), and asked about held-out clips of those and of three kinds of
categories that it never saw: new combinations of parts, new values of a family, whole families. Its adapters
are taken as predicted and polished on their reference by some steps, beside the mean adapter and nothing
polished as long. It prints

(1) the transfer gap, and the benefit over no adapter, with intervals over categories;
(2) effect accuracy: how often a classifier, trained on real renders, finds the reference's effect in the clip
    that was generated (and how often one of its family), beside no adapter, an adapter of each category's
    own, references of other categories (`shuffled`) or none (`blank`) while learning, the diffusion loss
    alone (`paper`), the backbone told the effect by name (`named`: what it could do), and real clips that
    only went through the VAE;
(3) how often the reference's subject is found in it, where the target has another one.

The backbone itself saw all effects by name. Choices are made with `--split development` (the default); `test`
is for the last table. Training resumes from `--work` after Ctrl-C. Writes a page of clips beside their
references to `--out`, failures among them, and prints one JSON object as its last line.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jobs.console import step as shown_step
from pipeline.pocket.backbone import NAMES, known_categories, working_folder
from pipeline.pocket.hypernetwork import POCKET_METHOD, Lessons, pocket_settings, teach
from pipeline.pocket.pairs import TEST_FROM, TRAIN_FROM, Pairs
from pipeline.samples.splits import unseen_of
from tests.benchmarks.going_on import going_on
from tests.benchmarks.learning_judges import Judges
from tests.benchmarks.learning_measures import (
    Row,
    Way,
    adapters_of,
    chosen_rows,
    decoded,
    gaps,
    generated,
    groups_of,
    kin,
    subjects,
)
from tests.benchmarks.learning_page import Shown, write_page
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.hub import cache_folder
from training.evaluation.intervals import mean_interval, relative_reduction
from training.evaluation.transfer_gap import PairLosses
from training.settings import PolishSettings

WAYS = (Way(), Way(steps=10), Way(steps=40), Way(steps=160), Way("mean", 40), Way("nothing", 40))
QUICK = Lessons(
    category_steps=20,
    regression_steps=30,
    steps=10,
    clips=4,
    batch=8,
    references_batch=32,
    precision="float32",
)


def controls(lessons: Lessons) -> dict[str, Lessons]:
    """What is taught beside it, in as many steps; the paper's own training gets those of all lessons."""
    alone = replace(lessons, category_steps=0, regression_steps=0, teacher="clips")
    return {
        "shuffled": replace(lessons, references="shuffled"),
        "blank": replace(lessons, references="blank"),
        "paper": replace(alone, steps=lessons.category_steps + lessons.steps),
    }


@dataclass
class Verdict:
    """What was found in one generated clip."""

    wanted: str
    found: str
    copied: bool | None  # the reference's subject; None where the target's is the same


@dataclass
class Findings:
    """What was measured so far, by (method and way, group)."""

    categories: tuple[str, ...] = NAMES  # clip n of the held-out set shows categories[n mod their count]
    losses: dict[tuple[str, str], list[PairLosses]] = field(default_factory=dict)
    verdicts: dict[tuple[str, str], list[Verdict]] = field(default_factory=dict)

    def accuracy(self, kind: str, group: str) -> dict[str, float]:
        """Shares of the clips with the right effect, with one of its family, with the reference's subject."""
        verdicts = self.verdicts[kind, group]
        copied = [each.copied for each in verdicts if each.copied is not None]
        right = [each.wanted == each.found for each in verdicts]
        effect = mean_interval(right, [each.wanted for each in verdicts])
        return {
            "effect": effect.value,
            "low": effect.low,
            "high": effect.high,
            "family": float(np.mean([kin(each.wanted, each.found) for each in verdicts])),
            "subject_copied": float(np.mean(copied)) if copied else float("nan"),
            "clips": len(verdicts),
        }

    def gap(self, kind: str, group: str) -> dict[str, list[float]]:
        """Transfer gap (other - same) / other and benefit (none - same) / none: [value, low, high]."""
        runs = self.losses[kind, group]
        same, other, none = (
            np.concatenate([getattr(run, name) for run in runs]) for name in ("same", "other", "none")
        )
        targets = [int(pair.split("<-")[0]) for run in runs for pair in run.pair_ids]
        names = [self.categories[target % len(self.categories)] for target in targets]
        found = {"gap": relative_reduction(same, other, names)}
        found["benefit_over_none"] = relative_reduction(same, none, names)
        return {name: [each.value, each.low, each.high] for name, each in found.items()}


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps, clips and categories")
    parser.add_argument("--split", choices=("development", "test"), default="development")
    parser.add_argument("--model", default="pocket", help="the backbone [default: pocket]")
    parser.add_argument("--seeds", type=int, default=1, help="of teaching [default: 1]")
    parser.add_argument("--controls", nargs="*", default=["shuffled", "blank", "paper"])
    parser.add_argument("--seen", type=int, default=53, help="seen categories that are asked about")
    parser.add_argument("--rows", type=int, default=2, help="clips of each category")
    parser.add_argument("--renders", type=int, default=96, help="of each effect that teach the classifiers")
    parser.add_argument("--denoise", type=int, default=25, help="denoising steps of a generated clip")
    parser.add_argument("--guidance", type=float, default=2.0, help="adapter guidance [default: 2]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, default=cache_folder() / "learning", help="what is kept")
    parser.add_argument("--out", type=Path, default=Path("learning"), help="where the page goes")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    arguments = options().parse_args(given)
    lessons = QUICK if arguments.quick else Lessons()
    if arguments.quick:
        arguments.seen, arguments.rows, arguments.denoise, arguments.controls = 2, 1, 4, []
    began = time.perf_counter()

    def said(text: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {text}", flush=True)

    device = torch.device(arguments.device)
    backbone = CogVideoXBackbone.load(pocket_settings(arguments.model), device=device)
    known = known_categories(backbone.folder)
    work = working_folder(arguments.work, known)
    groups = groups_of(arguments.split, known, arguments.seen)
    if arguments.quick:
        groups = {name: names[:2] for name, names in groups.items()}
        known = tuple(name for names in groups.values() for name in names)
    judges = Judges.trained(
        known, work / "judges", device, *((2, 1) if arguments.quick else (arguments.renders, 14))
    )
    said(f"classifiers on real renders of new scenes: {judges.told}")
    with shown_step("Encode") as progress:
        wanted = (progress, known, lessons.precision, unseen_of(known_categories(backbone.folder)))
        training = Pairs.load(backbone, work, TRAIN_FROM, lessons.clips, *wanted)
        held = Pairs.load(backbone, work, TEST_FROM, arguments.rows + 1, *wanted)
    findings, pages = Findings(known), {}

    def judge(kind: str, group: str, rows: list[Row], clips: list[Tensor]) -> None:
        wanted = [held.category_of(row[1]) for row in rows]
        found, shown = judges.effects(clips), judges.subjects(clips)
        for row, name, other, subject in zip(rows, wanted, found, shown, strict=True):
            target, reference = subjects(held, row)
            copied = None if target == reference else subject == reference
            findings.verdicts.setdefault((kind, group), []).append(Verdict(name, other, copied))
        pages.setdefault((kind, group), []).extend(
            Shown(clip, held.encoded.mean[row[1]].float().cpu(), name, other)
            for clip, row, name, other in zip(clips, rows, wanted, found, strict=True)
        )
        said(f"{kind}, {group}: effect found in {findings.accuracy(kind, group)['effect']:.1%}")

    def measured(name: str, method, rows_of: dict[str, list[Row]], ways: Sequence[Way], seed: int) -> None:
        for group, rows in rows_of.items():
            turned = [(target, wrong, right) for target, right, wrong in rows]
            for way in ways:
                made = [
                    adapters_of(method, held, each, way, training, PolishSettings())
                    for each in (rows, turned)
                ]
                kind, theta = f"{name}, {way}" if way.steps else name, made[0]
                losses = findings.losses.setdefault((kind, group), [])
                losses.append(gaps(method, held, rows, seed, made=(theta, made[1])))
                clips = generated(backbone, method, held, rows, theta, arguments.denoise, arguments.guidance)
                judge(f"{name}, {way}", group, rows, clips)

    for seed in range(arguments.seeds):
        rows_of = {group: chosen_rows(held, names, seed, arguments.rows) for group, names in groups.items()}
        with shown_step(f"Lessons, seed {seed}") as progress:
            taught = teach(backbone, training, POCKET_METHOD, replace(lessons, seed=seed), work, progress)
        if seed == 0:
            for group, rows in rows_of.items():
                judge("real", group, rows, decoded(backbone, held.encoded.mean[[r[1] for r in rows]].float()))
                for kind, named in (("none", False), ("named", True)):
                    led = arguments.guidance if named else 1.0
                    bare = (backbone, taught.method, held, rows, None, arguments.denoise, led, named)
                    judge(kind, group, rows, generated(*bare))
        measured("ours", taught.method, rows_of, WAYS, seed)
        only = replace(lessons, seed=seed, regression_steps=0, steps=0)
        own = teach(backbone, training, POCKET_METHOD, only, work)
        rows = rows_of["seen"]
        theta = own.adapters[[own.places[held.category_of(row[1])] for row in rows]]
        clips = generated(backbone, own.method, held, rows, theta, arguments.denoise, arguments.guidance)
        judge("one adapter per category", "seen", rows, clips)
        for name in arguments.controls:
            with shown_step(f"{name}, seed {seed}") as progress:
                other = replace(controls(lessons)[name], seed=seed)
                method = teach(backbone, training, POCKET_METHOD, other, work, progress).method
            measured(name, method, rows_of, WAYS[:1], seed)
    write_page(pages, backbone, arguments.out)
    report(arguments, lessons, judges.told, findings, time.perf_counter() - began)


def report(
    arguments: argparse.Namespace, lessons: Lessons, judged: dict, findings: Findings, seconds: float
) -> None:
    """Both tables, and everything in them as one line of JSON."""
    gap = {f"{kind} / {group}": findings.gap(kind, group) for kind, group in findings.losses}
    found = {f"{kind} / {group}": findings.accuracy(kind, group) for kind, group in findings.verdicts}
    for name, each in gap.items():
        cells = (f"{each[key][0]:+.1%} [{each[key][1]:+.1%}, {each[key][2]:+.1%}]" for key in each)
        print(f"{name:<44} gap {next(cells):>26}  benefit {next(cells):>26}")
    for name, each in found.items():
        print(
            f"{name:<44} effect {each['effect']:>6.1%} [{each['low']:.1%}, {each['high']:.1%}]"
            f"  family {each['family']:>6.1%}  subject copied {each['subject_copied']:>6.1%}"
        )
    told = {
        "split": arguments.split,
        "options": {name: str(value) for name, value in vars(arguments).items()},
        "method": POCKET_METHOD.model_dump(),
        "lessons": asdict(lessons),
        "classifiers": judged,
        "effect_accuracy": found,
        "gap": {name: each["gap"] for name, each in gap.items()},
        "benefit_over_none": {name: each["benefit_over_none"] for name, each in gap.items()},
        "subject_copied": {name: each["subject_copied"] for name, each in found.items()},
        "chance": 1 / len(findings.categories),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    going_on(main)
