"""An evaluation as people read it: a page with the videos, Markdown, JSON; and a blind page of two models."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs.report.evaluation_tables import Table, tables
from jobs.report.render import render
from jobs.workspace import write_json
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.plan import DOMAINS
from pipeline.evaluation.store import EvaluationStore
from training.files import write_atomically


def write_evaluation(store: EvaluationStore, found: dict[str, Any]) -> list[Path]:
    """Write NAME.html, NAME.md and NAME.json into the store's folder, of two models NAME-blind.html too.

    Returns:
        What was written, the page first.
    """
    root, name = store.folder, found["name"]
    write_json(root / f"{name}.json", found)
    everything = tables(found, root)
    write_atomically(root / f"{name}.md", markdown(found, everything))
    page = render(
        root / f"{name}.html",
        "evaluation.html.j2",
        title="Evaluation",
        subtitle=f"{name} · {found['created_at']}",
        notes=found["caveats"],
        tables=everything,
        models=[model["model_id"] for model in found["models"]],
        cases=list(_cases(found)),
        failures=[(m["model_id"], why) for m in found["models"] for why in m["failures"].values()],
        blind=f"{name}-blind.html" if found["comparison"] else None,
    )
    files = [page, root / f"{name}.md", root / f"{name}.json"]
    if found["comparison"]:
        files.insert(1, _write_blind(store, found))
    return files


def markdown(found: dict[str, Any], everything: Sequence[Table]) -> str:
    """The tables as one Markdown text."""
    parts = [
        f"# Evaluation {_plain(found['name'])}",
        f"On {_plain(found['snapshot'])}, {found['created_at']}.",
    ]
    parts += [f"> {_plain(note)}" for note in found["caveats"]]
    for table in everything:
        lines = [f"## {_plain(table.title)}", ""]
        lines += ["| " + " | ".join(_plain(head) for head in table.heads) + " |"]
        lines += ["|" + "---|" * len(table.heads)]
        lines += ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in table.rows]
        parts += ["\n".join(lines), *(_plain(note) for note in table.notes)]
    return "\n\n".join(parts) + "\n"


def _write_blind(store: EvaluationStore, found: dict[str, Any]) -> Path:
    """The blind page, and its videos under names that say nothing of the model."""
    comparison, name = found["comparison"], found["name"]
    folder = store.folder / "blind" / comparison["id"]
    folder.mkdir(parents=True, exist_ok=True)
    shown = []
    for pair in comparison["pairs"]:
        left = pair["left"]
        for side, key in (("left", pair["keys"][left]), ("right", pair["keys"][1 - left])):
            target = folder / f"{pair['pair']}-{side}.mp4"
            if not target.is_file():
                shutil.copyfile(store.video(key), target)
        shown.append(
            {
                "pair": pair["pair"],
                "category": pair["name"],
                "prompt": pair["prompt"],
                "reference": f"real/{pair['reference_id']}.mp4",
                "left": f"blind/{comparison['id']}/{pair['pair']}-left.mp4",
                "right": f"blind/{comparison['id']}/{pair['pair']}-right.mp4",
            }
        )
    # Neither the title nor the order says which model is where: pairs are named by a digest.
    shown.sort(key=lambda pair: pair["pair"])
    return render(
        store.folder / f"{name}-blind.html",
        "evaluation_blind.html.j2",
        title="Which shows the effect better?",
        subtitle="Two clips of one reference, side by side; which model made which is not said.",
        comparison=comparison["id"],
        pairs=shown,
    )


def _cases(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the page shows of each case: reference, what each model made, and the real clip."""
    for case in found["cases"]:
        made = []
        for model, clip in zip(found["models"], case["clips"], strict=True):
            measured = {
                METRICS[name].title: METRICS[name].shown(value)
                for name, value in clip["measured"].items()
                if name != "effect"
            }
            effect = clip["measured"].get("effect")
            made.append(
                {
                    "model": model["model_id"],
                    "video": f"made/{clip['key']}.mp4" if clip["key"] else None,
                    "found": None if effect is None else bool(effect),
                    "measured": measured,
                }
            )
        yield {
            "name": case["name"],
            "domain": DOMAINS[case["domain"]],
            "prompt": case["prompt"],
            "reference": f"real/{case['reference_id']}.mp4",
            "target": f"real/{case['target_id']}.mp4",
            "made": made,
        }


def _plain(text: object) -> str:
    """A stranger's text in a cell of Markdown: on one line, no markup."""
    flat = " ".join(str(text).split())
    return "".join(f"\\{sign}" if sign in "\\`*_|<>[]#" else sign for sign in flat)
