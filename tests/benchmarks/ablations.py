"""The paper's Table 2 at pocket scale, and our own choices beside it: a grid of short runs as Ray tasks.

`python -m tests.benchmarks.ablations [--seeds 2] [--address auto]`. Every row changes one thing
of `POCKET_METHOD`: refinement steps, sizes (a, b), positions of the video tokens, width of the
decoder, identity start, one A_aux for q, k and v. Prints the transfer gap of each with a bootstrap interval,
draws them as one plot, and prints one JSON object as its last line.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray
import torch

from pipeline.pocket.backbone import known_categories
from pipeline.pocket.hypernetwork import POCKET_METHOD, Lessons, pocket_settings, teach
from pipeline.pocket.pairs import TEST_FROM, TRAIN_FROM, Pairs
from pipeline.samples.splits import unseen_of
from tests.benchmarks.learning_measures import chosen_rows, gaps, groups_of
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.hub import cache_folder
from training.evaluation.transfer_gap import PairLosses, TransferGap, transfer_gap

GRID: dict[str, dict] = {
    "ours": {},
    "(a, b) = (24, 12)": {"down_size": 24, "up_size": 12},
    "(a, b) = (96, 48)": {"down_size": 96, "up_size": 48},
    "rank 4": {"rank": 4},
    "s = 1": {"refinements": 1},
    "s = 2": {"refinements": 2},
    "s = 8": {"refinements": 8},
    "no positions": {"positions": False},
    "no motion": {"motion": False},
    "no video blocks": {"video_layers": 0},
    "width 48": {"width": 48},
    "width 192": {"width": 192},
    "no identity start": {"identity_start": False},
    "shared q, k, v": {"share_qkv_down": True},
}
# With fewer steps of regression no variant tells categories apart yet, and all gaps are the same.
SHORT = Lessons(category_steps=250, regression_steps=700, steps=40)
GROUPS = ("seen", "unseen")
Row = dict[str, TransferGap]
Losses = dict[str, PairLosses]


@ray.remote(num_cpus=1)
def run(change: dict, seed: int, options: dict, lessons: Lessons, after: object = None) -> Losses | None:
    """Train one variant from one seed; the losses of its held-out pairs, seen and unseen.

    `after`: what has to end first. With no steps of the hypernetwork nothing is measured: the adapters of the
    categories are left for the runs that begin with them.
    """
    torch.set_num_threads(1)
    backbone = CogVideoXBackbone.load(pocket_settings(options["model"]))
    work = Path(options["work"])
    training = Pairs.load(backbone, work, TRAIN_FROM, options["clips"], **asked(backbone))
    settings = POCKET_METHOD.model_copy(update=change)
    method = teach(backbone, training, settings, lessons, work).method
    if not lessons.steps:
        return None
    held = Pairs.load(backbone, work, TEST_FROM, options["held_out"], **asked(backbone))
    groups = grouped(backbone)
    return {
        name: gaps(method, held, chosen_rows(held, names, seed, held.per_category), seed)
        for name, names in groups.items()
    }


def asked(backbone: CogVideoXBackbone) -> dict:
    """The categories of a backbone and those that no hypernetwork of it learns from."""
    known = known_categories(backbone.folder)
    return {"categories": known, "unseen": unseen_of(known)}


def grouped(backbone: CogVideoXBackbone) -> dict[str, tuple[str, ...]]:
    """Seen and unseen categories, of whatever kind."""
    groups = groups_of("development", known_categories(backbone.folder))
    unseen = tuple(name for kind, names in groups.items() if kind != "seen" for name in names)
    return {"seen": groups["seen"], "unseen": unseen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="pocket", help="the backbone [default: pocket]")
    parser.add_argument("--only", nargs="+", choices=GRID, help="these rows [default: all]")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--clips", type=int, default=Lessons().clips, help="training clips per effect")
    parser.add_argument("--held-out", type=int, default=4, help="held-out clips per effect")
    parser.add_argument("--work", type=Path, default=cache_folder() / "learning", help="encoded clips")
    parser.add_argument("--out", type=Path, default=Path("learning"), help="where the plot goes")
    parser.add_argument("--address", help="join this Ray cluster")
    arguments = parser.parse_args()
    began = time.perf_counter()
    options = {name: getattr(arguments, name) for name in ("model", "clips", "held_out")}
    options["work"] = str(arguments.work.resolve())
    # Encoded once, before the tasks would all begin with it.
    backbone = CogVideoXBackbone.load(pocket_settings(arguments.model))
    for first, count in ((TRAIN_FROM, arguments.clips), (TEST_FROM, arguments.held_out)):
        Pairs.load(backbone, arguments.work, first, count, **asked(backbone))
    ray.init(address=arguments.address or "local", include_dashboard=False, log_to_driver=False)
    try:
        rows = collect(arguments.only or list(GRID), arguments.seeds, options)
    finally:
        ray.shutdown()
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw(rows, arguments.out / "ablations.png")
    print(f"\n{'variant':<20} {'gap, seen':>26} {'gap, unseen':>26}")
    for name, row in rows.items():
        print(f"{name:<20} " + " ".join(f"{_interval(row[group]):>26}" for group in GROUPS))
    table = {name: {group: gap.to_dict() for group, gap in row.items()} for name, row in rows.items()}
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"options": {**options, "seeds": arguments.seeds}, "rows": table, "seconds": seconds}))


def collect(names: list[str], seeds: int, options: dict) -> dict[str, Row]:
    """The gaps of each variant over all its seeds; says each as it comes."""
    waiting, categories = {}, {}
    for seed in range(seeds):
        lessons = replace(SHORT, clips=options["clips"], seed=seed)
        only_categories = replace(lessons, regression_steps=0, steps=0)
        for name in names:
            # Variants of the hypernetwork share the adapters of the categories.
            change = {key: each for key, each in GRID[name].items() if key in POCKET_METHOD.adapter()}
            key = f"{seed} {change}"
            if key not in categories:
                categories[key] = run.remote(change, seed, options, only_categories)
            waiting[run.remote(GRID[name], seed, options, lessons, categories[key])] = name, seed
    found: dict[str, list[Losses]] = {name: [] for name in names}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        name, seed = waiting.pop(done)
        found[name].append(ray.get(done))
        said = ", ".join(f"{group} {transfer_gap(found[name][-1][group]).gap:+.1%}" for group in GROUPS)
        print(f"{name}, seed {seed}: {said}", flush=True)
    return {
        name: {group: transfer_gap(concatenated([each[group] for each in runs])) for group in GROUPS}
        for name, runs in found.items()
    }


def concatenated(runs: list[PairLosses]) -> PairLosses:
    """The pairs of several seeds as one set."""
    ids = tuple(f"{seed}:{each}" for seed, run in enumerate(runs) for each in run.pair_ids)
    columns = (np.concatenate([getattr(run, name) for run in runs]) for name in ("same", "other", "none"))
    return PairLosses(ids, *columns)


def draw(rows: dict[str, Row], path: Path) -> None:
    """Gaps with their intervals, a variant a line, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.6, 0.42 * len(rows) + 1.4), dpi=110)
    for place, (group, colour) in enumerate(zip(GROUPS, ("#1d4ed8", "#ea580c"), strict=True)):
        gaps_of = [row[group] for row in rows.values()]
        at = [index + 0.16 * (2 * place - 1) for index in range(len(rows))]
        bars = [
            [100 * (gap.gap - gap.low) for gap in gaps_of],
            [100 * (gap.high - gap.gap) for gap in gaps_of],
        ]
        axes.errorbar([100 * gap.gap for gap in gaps_of], at, xerr=bars, fmt="o", color=colour, label=group)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.axvline(0, color="#9ca3af", linewidth=1)
    axes.set_xlabel("transfer gap, %")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _interval(gap: TransferGap) -> str:
    return f"{gap.gap:+.1%} [{gap.low:+.1%}, {gap.high:+.1%}]"


if __name__ == "__main__":
    main()
