"""Which effects does a pocket backbone show when it is told their names?

`python -m tests.benchmarks.named [--model FOLDER] [--every N]`. From first frames of scenes that taught it
nothing, a clip of every category that it knows is generated under a caption that names the effect. A
classifier of what can be measured on pixels (`effects.py`), fitted on real renders of all categories and on
as many with grain, says which effect it finds; beside it, how often it is right about the real clips of the
same scenes after they went through the VAE, and how often about clips whose caption does not name the effect:
what the first frame alone gives away. It writes sheets of all three, prints what was taken for what, and one
JSON object as the last line.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from jobs.console import step
from jobs.report.pictures import contact_sheet
from pipeline.pocket.backbone import known_categories
from pipeline.pocket.families import COGVIDEOX
from pipeline.pocket.hypernetwork import POCKET_METHOD, pocket_settings
from pipeline.pocket.pairs import TEST_FROM, Pairs
from tests.benchmarks.effect_clips import TRAIN_FROM
from tests.benchmarks.effects import clips_of, fitted, row_of
from tests.benchmarks.learning_measures import decoded, generated, kin
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.evaluation.intervals import mean_interval
from training.methods.registry import build_method


def main(arguments: Sequence[str] | None = None) -> dict:
    options = _options(arguments)
    began = time.monotonic()
    backbone = CogVideoXBackbone.load(pocket_settings(options.model))
    known = known_categories(backbone.folder)
    asked = known[options.first :: options.every]
    kept = options.out / "clips"
    renders = [clips_of(known, TRAIN_FROM, options.per_effect, kept, grain) for grain in (False, True)]
    judge = fitted(*map(np.concatenate, zip(*renders, strict=True)))
    with step("Encode") as progress:
        held = Pairs.load(backbone, options.out, TEST_FROM, options.clips, progress, asked)
    wanted = [held.category_of(place) for place in range(len(held.encoded))]
    real = decoded(backbone, held.encoded.mean.float())
    method = build_method(POCKET_METHOD, COGVIDEOX.dit(backbone))
    made: dict[str, list[torch.Tensor]] = {"named": [], "untold": []}
    with step("Generate") as progress:
        for at in range(0, len(wanted), 8):
            rows = [(place, place, place) for place in range(at, min(at + 8, len(wanted)))]
            for kind, clips in made.items():
                told_it = kind == "named"
                how = (None, options.denoise, options.guidance if told_it else 1.0, told_it)
                clips += generated(backbone, method, held, rows, *how)
            progress(at + len(rows), len(wanted), {})
    report: dict = {"model": options.model, "categories": len(known), "clips": len(wanted)}
    for kind, clips in {"real": real, **made}.items():
        rows = np.stack([row_of(clip.numpy()) for clip in clips])
        found = [known[place] for place in judge.predict(rows)]
        report[kind] = told(wanted, found)
        print(f"{kind}: {report[kind]}")
        _sheets(options.out, kind, clips)
        if kind == "named":
            for name, other in zip(wanted, found, strict=True):
                if name != other:
                    print(f"{name} taken for {other}")
    report["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(report))
    return report


def told(wanted: Sequence[str], found: Sequence[str]) -> dict[str, float]:
    """Shares of the right effect, with its interval over categories, and of one of its family."""
    right = [one == other for one, other in zip(wanted, found, strict=True)]
    effect = mean_interval(right, wanted)
    family = np.mean([kin(one, other) for one, other in zip(wanted, found, strict=True)])
    shares = {"effect": effect.value, "low": effect.low, "high": effect.high, "family": float(family)}
    return {name: round(share, 4) for name, share in shares.items()}


def _sheets(out: Path, kind: str, clips: Sequence[torch.Tensor], rows: int = 24) -> None:
    for at in range(0, len(clips), rows):
        picture = contact_sheet([clip.numpy() for clip in clips[at : at + rows]], rows)
        (out / f"{kind}-{at // rows}.jpg").write_bytes(picture)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pocket", help="the backbone, or its folder [default: pocket]")
    parser.add_argument("--out", type=Path, default=Path("named-work"), help="where pictures go")
    parser.add_argument("--first", type=int, default=0, help="the first category asked about")
    parser.add_argument("--every", type=int, default=1, help="ask about every so many-th category only")
    parser.add_argument("--clips", type=int, default=1, help="of each category")
    parser.add_argument("--per-effect", type=int, default=20, help="clips to fit the classifier on")
    parser.add_argument("--denoise", type=int, default=25, help="denoising steps of a clip")
    parser.add_argument("--guidance", type=float, default=2.0, help="towards the name")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
