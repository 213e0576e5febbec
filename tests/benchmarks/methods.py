"""Four answers to "make my video do that" on equal terms: the pocket backbones, the same clips and seconds.

`python -m tests.benchmarks.methods [--seconds 240] [--quick]`. On each backbone the methods that take it
learn from the same pairs of the seen categories for `--seconds` (of the processor on a CPU), by how far
their velocities are from those of the frozen backbone that is told the effect's name (`--teacher clips`: by
the diffusion loss): Video2LoRA by the three lessons of the shipped model, Video-As-Prompt and one adapter
per category by that loss alone. They are asked about held-out clips of seen and unseen categories, judged by
one classifier, and to carry an edited first frame on, beside LoRA-Edit, whose seconds are shared out among
the edits, each of which it is fitted to. It prints one table:

- transfer gap, and how often a classifier finds the reference's effect in the generated clip;
- bytes of one effect and of what all share, seconds to adapt to a new reference from its latents, seconds and
  bytes to generate a clip;
- of edits what `methods_edits.py` says;

and what that says to the papers' claims. `--out` gets a page of clips, and a sheet beside it. What was
trained and made is kept in `--work`, so that it goes on after Ctrl-C; its last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.pocket.families import FAMILIES
from pipeline.pocket.hypernetwork import Lessons
from tests.benchmarks.going_on import going_on, leave_to_parent
from tests.benchmarks.methods_half import Asked, Half, asked_of, half
from tests.benchmarks.methods_page import write_page
from tests.benchmarks.methods_table import markdown
from training.backbones.hub import cache_folder

QUICK = {
    "seconds": None,
    "seen": 2,
    "unseen": 2,
    "rows": 1,
    "renders": 2,
    "polish": 1,
    "denoise": 1,
    "clips": 2,
}


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--seconds", type=float, default=240, help="of training, for each method")
    parser.add_argument("--quick", action="store_true", help="few steps, clips and categories")
    parser.add_argument("--backbones", nargs="+", choices=tuple(FAMILIES), default=tuple(FAMILIES))
    parser.add_argument("--jobs", type=int, default=1 if on_gpu else 2, help="backbones at the same time")
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
    parser.add_argument("--cogvideox", default="pocket", help="weights of the CogVideoX")
    parser.add_argument("--wan", default="pocket", help="weights of the Wan")
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu")
    parser.add_argument("--work", type=Path, default=cache_folder() / "methods", help="what is kept")
    parser.add_argument("--out", type=Path, default=Path("methods"), help="where the page goes")
    return parser


def halves(asked: Asked, families: Sequence[str], jobs: int) -> Iterator[tuple[str, Half]]:
    """Each family's half as soon as it is done; with more than one job each in a process and a thread."""
    if min(jobs, len(families)) < 2:
        yield from ((family, half(asked, family)) for family in families)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, _alone_on_a_core) as pool:
        try:
            tasks = {pool.submit(half, asked, family): family for family in families}
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        except BaseException:
            # Also on Ctrl-C: what they made is kept, and nobody waits for more of it.
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _alone_on_a_core() -> None:
    torch.set_num_threads(1)
    leave_to_parent()


def main(given: Sequence[str] | None = None) -> dict:
    arguments = options().parse_args(given)
    lessons = Lessons(batch=8, references_batch=32, clips=arguments.clips, teacher=arguments.teacher)
    if arguments.quick:
        vars(arguments).update(QUICK, edits=min(1, arguments.edits))
        lessons = replace(lessons, batch=2, references_batch=2, clips=2)
    asked = asked_of(arguments, lessons)
    judges = asked.judges()
    asked.said(f"classifiers on real renders of new scenes: {judges.told['effects']:.1%} right")
    asked.rendered()
    found: dict[str, Half] = {}

    def report() -> dict:
        """What is known so far, as the page and as a file; a command that is killed later leaves both."""
        done = [found[family] for family in arguments.backbones if family in found]
        lines, edits, sections = (
            {name: value for each in done for name, value in getattr(each, part).items()}
            for part in ("lines", "edits", "sections")
        )
        claims = [claim for each in done for claim in each.claims]
        told = {
            "options": {name: str(value) for name, value in vars(arguments).items()},
            "classifiers": judges.told,
            "chance": 1 / len(asked.categories),
            "methods": {name: line.to_dict() for name, line in lines.items()},
            "claims": [claim.to_dict() for claim in claims],
            "edits": edits,
            "seconds": round(time.time() - asked.began, 1),
        }
        table = markdown(lines)
        page = write_page(arguments.out, sections, table, claims, [str(__doc__).split("\n\n")[1]])
        (arguments.out / "report.json").write_text(json.dumps(told), encoding="utf-8")
        asked.said(f"{page}, and beside it sheet.png and report.json")
        return told | {"table": table, "sentences": [claim.sentence() for claim in claims]}

    told: dict = {}
    for family, each in halves(asked, arguments.backbones, arguments.jobs):
        found[family] = each
        told = report()
    print(told.pop("table"))
    for sentence in told.pop("sentences"):
        print(sentence)
    print(json.dumps(told))
    return told


if __name__ == "__main__":
    going_on(main)
