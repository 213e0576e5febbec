"""Does the hypernetwork learn? The transfer gap and the effects of generated clips, on the pocket backbone.

`python -m tests.benchmarks.learning [--quick]`. From several seeds, Video2LoRA trains on 38 categories of
procedural effects. On held-out clips of those and of 10 categories that it never saw it prints (1) the
transfer gap with bootstrap intervals and (2) effect accuracy: how often a classifier, trained on real
renders, finds the reference's effect in the clip generated from it, beside no adapter, an adapter trained
without looking at the reference (`blank`: what text and first frame can do by themselves), references of
arbitrary categories (`shuffled`), chance, the backbone told the effect by name (`named`: what it could do),
and real clips that only went through the VAE. Every generated clip begins with a scene that its reference
did not have. Adapters are measured with adapter guidance, those of the first seed also as they are.

Training is resumed from `--work` after Ctrl-C. Writes a page of clips beside their references to `--out`,
failures among them, and prints one JSON object as its last line.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jobs.console import step as shown_step
from pipeline.pocket.hypernetwork import POCKET_METHOD, Lessons, pocket_settings, teach
from pipeline.pocket.pairs import NAMES, SEEN, TEST_FROM, TRAIN_FROM, UNSEEN, Pairs, References
from pipeline.samples.scene import make_scene
from tests.benchmarks.effect_classifier import (
    EffectNet,
    held_out_accuracy,
    predictions,
    to_classifier,
    train_classifier,
)
from tests.benchmarks.learning_page import Shown, write_page
from training.backbones.base import Scene
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.hub import cache_folder
from training.evaluation.transfer_gap import PairLosses, pair_losses, transfer_gap
from training.generate import Guidance, denoise
from training.methods.base import Method

GROUPS = {"seen": SEEN, "unseen": UNSEEN}
VARIANTS: tuple[References, ...] = ("same", "blank", "shuffled")
QUICK = Lessons(category_steps=20, regression_steps=30, steps=10, clips=4)
Row = tuple[int, int, int]


def gaps(method: Method, pairs: Pairs, seed: int, draws: int = 2) -> dict[str, PairLosses]:
    """Losses of the held-out pairs, seen and unseen."""
    found = {}
    for name, effects in GROUPS.items():
        rows = pairs.held_out(effects, seed)
        batches = []
        for at in range(0, len(rows), 16):
            targets, same, other = (list(column) for column in zip(*rows[at : at + 16], strict=True))
            batches.append((pairs.batch(targets, same, seed + at), pairs.batch(targets, other, seed + at)))
        with torch.autocast("cpu", torch.bfloat16):
            found[name] = pair_losses(method, batches, draws)
    return found


@torch.no_grad()
def generated(
    backbone: CogVideoXBackbone,
    method: Method,
    pairs: Pairs,
    rows: list[Row],
    adapted: str,
    steps: int,
    guidance: float = 1.0,
) -> list[Tensor]:
    """Clips uint8 [49, H, W, 3] that begin as each row's target does.

    `adapted`: under the adapter of the row's reference ("same"), of nothing ("blank"), or none ("none",
    "named"). `guidance` leads away from what the backbone does with no adapter and no name.
    """
    clips = []
    for at in range(0, len(rows), 8):
        targets, references, _ = (list(column) for column in zip(*rows[at : at + 8], strict=True))
        batch = pairs.batch(targets, references, seed=at, kind="blank" if adapted == "blank" else "same")
        theta, text, leads_by_name = None, batch.text_embeddings, adapted == "named" and guidance > 1
        negative = text if leads_by_name else None
        if adapted in ("same", "blank"):
            theta = method.condition(batch.references)
        if adapted == "named":
            # A row's target shows the effect of its reference.
            text = pairs.named[targets]
        noise = torch.randn(batch.target_latents.shape, generator=torch.Generator().manual_seed(at))
        led = Guidance(
            prompt=guidance if leads_by_name else 1.0,
            adapter=guidance,
            without_adapter=(lambda: method.under(None)) if theta is not None else None,
        )
        with method.under(theta) as velocity, torch.autocast("cpu", torch.bfloat16):
            scene = Scene(batch.first_frame_latents, text)
            latents = denoise(velocity, backbone.sampler(), noise, scene, steps, led, negative)
        clips += decoded(backbone, latents)
    return clips


@torch.no_grad()
def decoded(backbone: CogVideoXBackbone, latents: Tensor) -> list[Tensor]:
    """Latents [n, F, C, h, w] → clips."""
    with torch.autocast("cpu", torch.bfloat16):
        return [backbone.decode(each.float()) for each in latents]


def named(net: EffectNet, clips: list[Tensor]) -> list[int]:
    """The effect that the classifier finds in each clip."""
    return predictions(net, torch.stack([to_classifier(clip) for clip in clips])).tolist()


def concatenated(runs: list[PairLosses]) -> PairLosses:
    """The pairs of several seeds as one set."""
    ids = tuple(f"{seed}:{each}" for seed, run in enumerate(runs) for each in run.pair_ids)
    columns = (np.concatenate([getattr(run, name) for run in runs]) for name in ("same", "other", "none"))
    return PairLosses(ids, *columns)


def hits(verdicts: list[tuple[int, int]]) -> float:
    """Share of (wanted, found) that agree."""
    return float(np.mean([wanted == found for wanted, found in verdicts]))


class Findings:
    """What was measured so far."""

    def __init__(self) -> None:
        self.losses: dict[tuple[str, str], list[PairLosses]] = {}
        # (adapted, group) → (wanted effect, found effect) of every generated clip
        self.verdicts: dict[tuple[str, str], list[tuple[int, int]]] = {}
        # The same of those whose subject and colour were not the reference's.
        self.transferred: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def share(self, adapted: str, group: str) -> float:
        """How often the wanted effect was found."""
        return hits(self.verdicts[adapted, group])

    def by_effect(self, adapted: str, group: str) -> dict[str, float]:
        """The same per effect, best first."""
        verdicts = self.verdicts[adapted, group]
        shares = {
            NAMES[effect]: float(np.mean([found == effect for wanted, found in verdicts if wanted == effect]))
            for effect in {wanted for wanted, _ in verdicts}
        }
        return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, few steps and clips")
    parser.add_argument("--model", default="pocket", help="the backbone [default: pocket]")
    parser.add_argument("--seeds", type=int, help="runs with references")
    parser.add_argument("--controls", type=int, help="runs of each control")
    parser.add_argument("--clips", type=int, help="training clips per effect")
    parser.add_argument("--held-out", type=int, help="held-out clips per effect")
    parser.add_argument("--denoise", type=int, help="denoising steps of a generated clip")
    parser.add_argument("--guidance", type=float, default=2.0, help="adapter guidance [default: 2]")
    parser.add_argument("--work", type=Path, default=cache_folder() / "learning", help="what is kept")
    parser.add_argument("--out", type=Path, default=Path("learning"), help="where the page goes")
    arguments = parser.parse_args()
    much = QUICK if arguments.quick else Lessons()
    defaults = (1, 1, much.clips, 2, 10) if arguments.quick else (3, 1, much.clips, 6, 25)
    names = ("seeds", "controls", "clips", "held_out", "denoise")
    for name, value in zip(names, defaults, strict=True):
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    began = time.perf_counter()

    def said(text: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {text}", flush=True)

    backbone = CogVideoXBackbone.load(pocket_settings(arguments.model))
    net = train_classifier(8, 4) if arguments.quick else train_classifier()
    own = held_out_accuracy(net, 2 if arguments.quick else 8)
    said(f"classifier: {own:.1%} of real renders of new scenes")
    with shown_step("Encode") as progress:
        training = Pairs.load(backbone, arguments.work, TRAIN_FROM, arguments.clips, progress)
        held = Pairs.load(backbone, arguments.work, TEST_FROM, arguments.held_out, progress)
    findings, pages = Findings(), {}

    def judge(kind: str, group: str, rows: list[Row], clips: list[Tensor]) -> None:
        wanted, found = [held.effect_of(row[1]) for row in rows], named(net, clips)
        verdicts = list(zip(wanted, found, strict=True))
        findings.verdicts.setdefault((kind, group), []).extend(verdicts)
        findings.transferred.setdefault((kind, group), []).extend(
            verdict
            for verdict, (target, reference, _) in zip(verdicts, rows, strict=True)
            if other_scene(target, reference)
        )
        pages.setdefault((kind, group), []).extend(
            Shown(clip, held.encoded.mean[row[1]].float(), NAMES[a], NAMES[b])
            for clip, row, a, b in zip(clips, rows, wanted, found, strict=True)
        )
        said(f"{kind}, {group}: effect found in {findings.share(kind, group):.1%} of {len(rows)} and before")

    for variant in VARIANTS:
        for seed in range(arguments.seeds if variant == "same" else arguments.controls):
            lessons = replace(much, clips=arguments.clips, seed=seed, references=variant)
            if variant != "same":
                # Their references tell nothing: there is but one adapter to learn.
                lessons = replace(
                    lessons,
                    category_steps=min(250, much.category_steps),
                    regression_steps=min(200, much.regression_steps),
                )
            with shown_step(f"{variant}, seed {seed}") as progress:
                method, _ = teach(backbone, training, POCKET_METHOD, lessons, arguments.work, progress)
            for group, found in gaps(method, held, seed).items():
                findings.losses.setdefault((variant, group), []).append(found)
                said(f"{variant}, seed {seed}, {group}: gap {transfer_gap(found).gap:+.1%}")
            for group, effects in GROUPS.items():
                rows = chosen_rows(held, effects, seed)
                ways = [(variant, arguments.guidance)] if variant != "shuffled" else []
                if variant == "same" and seed == 0:
                    ways += [("same", 1.0), ("none", 1.0), ("named", arguments.guidance)]
                    real = decoded(backbone, held.encoded.mean[[row[1] for row in rows]])
                    judge("real, through the VAE", group, rows, real)
                for adapted, guidance in ways:
                    clips = generated(backbone, method, held, rows, adapted, arguments.denoise, guidance)
                    judge(f"{adapted}, guided" if guidance > 1 else adapted, group, rows, clips)
    write_page(pages, backbone, arguments.out)
    report(arguments, much, own, findings, time.perf_counter() - began)


def chosen_rows(held: Pairs, effects: tuple[int, ...], seed: int) -> list[Row]:
    """A row of every seen effect, about as many of the fewer unseen ones; other rows with another seed."""
    each = max(1, min(held.per_effect, len(SEEN) // len(effects)))
    numbers = {(seed * each + place) % held.per_effect for place in range(each)}
    return [row for row in held.held_out(effects, seed) if row[0] // len(held.effects) in numbers]


def other_scene(target: int, reference: int) -> bool:
    """Whether two clips of the held-out set show different subjects in different colours."""
    scenes = [make_scene(TEST_FROM + clip) for clip in (target, reference)]
    return len({scene.subject for scene in scenes}) == len({scene.colour for scene in scenes}) == 2


def report(
    arguments: argparse.Namespace, much: Lessons, own: float, findings: Findings, seconds: float
) -> None:
    """Both tables, and everything in them as one line of JSON."""
    gap = {
        f"{variant} {group}": transfer_gap(concatenated(runs)).to_dict()
        for (variant, group), runs in findings.losses.items()
    }
    print(f"\n{'transfer gap':<24} {'seen':>24} {'unseen':>24}")
    for variant in dict.fromkeys(variant for variant, _ in findings.losses):
        cells = (gap[f"{variant} {group}"] for group in GROUPS)
        print(
            f"{variant:<24}"
            + "".join(f" {c['gap']:>+9.1%} [{c['low']:+.1%}, {c['high']:+.1%}]" for c in cells)
        )
    print(f"\n{'effect accuracy':<24} {'seen':>24} {'unseen':>24}")
    for kind in dict.fromkeys(kind for kind, _ in findings.verdicts):
        print(f"{kind:<24}" + "".join(f" {findings.share(kind, group):>24.1%}" for group in GROUPS))
    print(f"{'chance':<24}" + f" {1 / len(NAMES):>24.1%}" * 2)
    print(
        json.dumps(
            {
                "categories": {name: len(effects) for name, effects in GROUPS.items()},
                "options": {name: str(value) for name, value in vars(arguments).items()},
                "method": POCKET_METHOD.model_dump(),
                "lessons": asdict(much),
                "classifier_accuracy": round(own, 4),
                "gap": gap,
                "gap_by_seed": {
                    f"{variant} {group}": [round(transfer_gap(run).gap, 4) for run in runs]
                    for (variant, group), runs in findings.losses.items()
                },
                "effect_accuracy": {
                    f"{kind} {group}": findings.share(kind, group) for kind, group in findings.verdicts
                },
                "effect_accuracy_other_subject_and_colour": {
                    f"{kind} {group}": {"share": hits(verdicts), "clips": len(verdicts)}
                    for (kind, group), verdicts in findings.transferred.items()
                    if verdicts
                },
                "by_effect": {
                    f"{kind} {group}": findings.by_effect(kind, group)
                    for kind, group in findings.verdicts
                    if kind.startswith(("same", "named", "real"))
                },
                "chance": 1 / len(NAMES),
                "seconds": round(seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
