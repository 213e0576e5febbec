"""Four answers to "make my video do that" on equal terms: the pocket backbones, the same clips and seconds.

`python -m tests.benchmarks.methods [--seconds 240] [--quick]`. Each method learns from the same pairs of the
seen categories for `--seconds` (of the processor on a CPU), by how far its velocities are from those of the
frozen backbone that is told the effect's name (`--teacher clips`: by the diffusion loss): Video2LoRA by the
three lessons of the shipped model, Video-As-Prompt and one adapter per category by that loss alone. They are
asked about held-out clips of seen and unseen categories, and to carry an edited first frame on, beside
LoRA-Edit, whose seconds are shared out among the edits, each of which it is fitted to. It prints one table:

- transfer gap, and how often a classifier finds the reference's effect in the generated clip;
- bytes of one effect and of what all share, seconds to adapt to a new reference from its latents, seconds and
  bytes to generate a clip;
- of edits what `methods_edits.py` says;

and what that says to the papers' claims. `--out` gets a page of clips, and a sheet beside it. Training goes
on from `--work` after Ctrl-C; its last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from jobs.console import step as shown_step
from pipeline.embedding.embedder import Embedder
from pipeline.embedding.settings import EmbedSettings
from pipeline.pocket.backbone import POCKET_SHAPE, known_categories, working_folder
from pipeline.pocket.hypernetwork import Lessons, pocket_settings
from pipeline.pocket.pairs import TEST_FROM, TRAIN_FROM, Pairs
from pipeline.samples.splits import unseen_of
from tests.benchmarks.learning import Findings
from tests.benchmarks.learning_judges import Judges
from tests.benchmarks.learning_measures import chosen_rows, decoded, groups_of
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
from tests.benchmarks.methods_page import Cell, Strip, write_page
from tests.benchmarks.methods_table import Line, markdown
from tests.benchmarks.methods_taught import School
from tests.benchmarks.methods_wan import OnWan
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.hub import cache_folder
from training.backbones.settings import BackboneSettings
from training.evaluation.intervals import mean_interval
from training.settings import EditSettings

REAL, INPUT = "real clips through the VAE", "the input through the VAE"


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240, help="of training, for each method")
    parser.add_argument("--quick", action="store_true", help="few steps, clips and categories")
    parser.add_argument("--teacher", choices=("name", "clips"), default="name")
    parser.add_argument("--clips", type=int, default=12, help="of each category that train")
    parser.add_argument("--seen", type=int, help="categories that are taught and asked about [default: all]")
    parser.add_argument("--unseen", type=int, help="others that are asked about [default: all]")
    parser.add_argument("--rows", type=int, default=1, help="clips of each category")
    parser.add_argument("--renders", type=int, default=32, help="of each effect that teach the classifiers")
    parser.add_argument("--polish", type=int, default=10, help="steps")
    parser.add_argument("--denoise", type=int, default=15, help="denoising steps of a clip")
    parser.add_argument("--guidance", type=float, default=2.0, help="away from what no adapter does")
    parser.add_argument("--only", choices=("effects", "edits"), help="what is asked [default: both]")
    parser.add_argument("--edits", type=int, default=8, help="clips that are edited; 0: none")
    parser.add_argument("--model", default="pocket", help="the CogVideoX")
    parser.add_argument("--wan", default="pocket", help="the Wan")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, default=cache_folder() / "methods", help="what is kept")
    parser.add_argument("--out", type=Path, default=Path("methods"), help="where the page goes")
    return parser


def edited(
    arguments: argparse.Namespace, asked: Sequence[Case], found: list[Contender], comparison: Comparison
) -> tuple[dict[str, list[dict[str, float]]], list[Strip]]:
    """The edits under every method: their measures, a list for each way, and strips for the page."""
    look = Embedder(EmbedSettings(model="pocket", pretrained="pocket", frames=16), arguments.device)
    backbone, lines = comparison.backbone, comparison.lines
    clips = {
        f"{INPUT}, CogVideoX": [backbone.decode(backbone.encode_video(c.frames)[0]).numpy() for c in asked]
    }
    for who in found:
        if who.told:
            continue
        method = None if who.condition is None else who.method
        carried = InContext(backbone, method, arguments.denoise, arguments.guidance, who.polished)
        clips[who.name] = [carried.made(case, carried.condition(case)) for case in asked]
        comparison.said(f"{who.name}: edits")
    settings = BackboneSettings(
        family="wan",
        model=arguments.wan,
        dtype="float32",
        max_text_tokens=32,
        num_frames=POCKET_SHAPE[0],
        height=POCKET_SHAPE[1],
        width=POCKET_SHAPE[2],
    )
    edit = EditSettings(lr=1e-3, sampling_steps=arguments.denoise, guidance=1.0, put_back=False)
    with TemporaryDirectory() as folder:
        wan = OnWan(settings, edit, Path(folder))
        steps = 2 if arguments.quick else wan.steps_in(asked[0], arguments.seconds / len(asked))
        ways = {
            LORA_EDIT: wan.fitted(asked, steps),
            FROZEN: wan.frozen(asked, masked=True),
            "frozen Wan, first frame alone": wan.frozen(asked, masked=False),
        }
        clips[f"{INPUT}, Wan"] = wan.reconstructed(asked)
    clips[f"{LORA_EDIT}, put back"] = wan.put_back(asked, ways[LORA_EDIT].clips)
    for name, made in ways.items():
        clips[name] = made.clips
        lines[name] = Line(generate=made.generate, held=made.held)
        if made.steps:
            told = f"{made.steps} each"
            lines[name] = replace(
                lines[name], steps=told, trained=made.adapt * len(asked), stored=made.stored, adapt=made.adapt
            )
        comparison.said(f"{name}: edits")
    effects = [case.effect for case in asked]
    measures = {
        name: [measured(case, clip, look) for case, clip in zip(asked, made, strict=True)]
        for name, made in clips.items()
    }
    for name, each in measures.items():
        line = lines.setdefault(name, Line())
        for measure in MEASURES:
            whole = mean_interval([one[measure] for one in each], effects)
            setattr(line, measure, between(whole.value, whole.low, whole.high))
    strips = [
        Strip(
            f"{case.effect}: {case.caption} Edited: {case.prompt}",
            [
                Cell("input", case.frames),
                *(Cell(name, clips[name][place], f"{measures[name][place]['reach']:.0%}") for name in clips),
            ],
        )
        for place, case in enumerate(asked[:SHOWN])
    ]
    return measures, strips


def spread(names: Sequence[str], count: int | None) -> tuple[str, ...]:
    """So many of them, spread over all."""
    if count is None or count >= len(names):
        return tuple(names)
    return tuple(names[place * len(names) // count] for place in range(count))


def main(given: Sequence[str] | None = None) -> dict:
    arguments = options().parse_args(given)
    lessons = Lessons(batch=8, references_batch=32, clips=arguments.clips, teacher=arguments.teacher)
    if arguments.quick:
        quick = {
            "seconds": None,
            "seen": 2,
            "unseen": 2,
            "rows": 1,
            "renders": 2,
            "polish": 1,
            "denoise": 1,
            "clips": 2,
        }
        vars(arguments).update(quick, edits=min(1, arguments.edits))
        lessons = replace(lessons, batch=2, references_batch=2, clips=2)
    began = time.perf_counter()

    def said(text: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {text}", flush=True)

    device = torch.device(arguments.device)
    backbone = CogVideoXBackbone.load(pocket_settings(arguments.model), device=device)
    known = known_categories(backbone.folder)
    work, unseen = working_folder(arguments.work, known), unseen_of(known)
    groups = groups_of("development", known)
    groups = {
        name: spread(names, arguments.seen if name == "seen" else arguments.unseen)
        for name, names in groups.items()
    }
    known = tuple(name for names in groups.values() for name in names)
    judges = Judges.trained(known, work / "judges", device, arguments.renders, 1 if arguments.quick else 14)
    said(f"classifiers on real renders of new scenes: {judges.told['effects']:.1%} right")
    with shown_step("Encode") as progress:
        wanted = (progress, known, lessons.precision, unseen)
        training = Pairs.load(backbone, work, TRAIN_FROM, lessons.clips, *wanted)
        held = Pairs.load(backbone, work, TEST_FROM, arguments.rows + 1, *wanted)
    school = School(backbone, training, lessons, arguments.seconds, work)
    found = contenders(school, held, arguments.polish)
    rows = {group: chosen_rows(held, names, 0, arguments.rows) for group, names in groups.items()}
    if arguments.quick:
        rows = {group: each[:1] for group, each in rows.items()}
        found = [who for who in found if who.name not in (NAMED, SHIPPED)]
    if arguments.only == "edits":
        rows = {}
    comparison = Comparison(arguments, backbone, held, rows, judges, said, Findings(known))
    for group, each in rows.items():
        real = decoded(backbone, held.encoded.mean[[row[1] for row in each]].float())
        comparison.judge(REAL, group, each, real)
    claims: list[Claim] = []
    if rows:
        for who in found:
            comparison.ask(who)
        claims = of_effects(comparison.findings.verdicts, POLISHED)
    sections = comparison.pages()
    measures: dict[str, list[dict[str, float]]] = {}

    def report() -> dict:
        """What is known so far, as the page and as a file; a command that is killed later leaves both."""
        told = {
            "options": {name: str(value) for name, value in vars(arguments).items()},
            "classifiers": judges.told,
            "chance": 1 / len(known),
            "methods": {name: line.to_dict() for name, line in comparison.lines.items()},
            "claims": [claim.to_dict() for claim in claims],
            "edits": measures,
            "seconds": round(time.perf_counter() - began, 1),
        }
        table = markdown(comparison.lines)
        page = write_page(arguments.out, sections, table, claims, [str(__doc__).split("\n\n")[1]])
        (arguments.out / "report.json").write_text(json.dumps(told), encoding="utf-8")
        said(f"{page}, and beside it sheet.png and report.json")
        return told

    asking_edits = arguments.edits > 0 and arguments.only != "effects"
    if rows and asking_edits:
        report()
    if asking_edits:
        asked = cases(arguments.edits, TEST_FROM, POCKET_SHAPE)
        measures, strips = edited(arguments, asked, found, comparison)
        claims += of_edits(measures, [case.effect for case in asked])
        sections["Edits: input, then each way with its reach"] = strips
    told = report()
    print(markdown(comparison.lines))
    for claim in claims:
        print(claim.sentence())
    print(json.dumps(told))
    return told


if __name__ == "__main__":
    main()
