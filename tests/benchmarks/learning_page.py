"""The page of the learning benchmark: generated clips beside their references, to be looked at."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jobs.report.pictures import contact_sheet
from pipeline.video.transcode import write_video
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.pretrain.precision import computing

PER_GROUP = 12
STYLE = """body{font:15px system-ui;margin:2rem;max-width:76rem}.pairs{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:0}video{width:192px;image-rendering:pixelated}figcaption{font-size:13px}.wrong{color:#b91c1c}"""


@dataclass(frozen=True)
class Shown:
    """A generated clip uint8 [n, H, W, 3], its reference's latents, the effect wanted and the one found."""

    clip: Tensor
    reference: Tensor
    wanted: str
    found: str


def write_page(groups: dict[tuple[str, str], list[Shown]], backbone: CogVideoXBackbone, out: Path) -> Path:
    """Write `out`/index.html, its videos, and a contact sheet of each group; returns the page.

    Of every group as many failures are shown as successes, where there are as many.
    """
    (out / "clips").mkdir(parents=True, exist_ok=True)
    parts = []
    for (kind, group), shown in groups.items():
        chosen = choose(shown)
        pictures, figures = [], []
        for number, each in enumerate(chosen):
            with torch.no_grad(), computing(torch.device("cpu"), "bfloat16"):
                reference = backbone.decode(each.reference).numpy()
            pictures += [reference, each.clip.numpy()]
            name = f"{kind}-{group}-{number}".replace(", ", "-").replace(" ", "-")
            write_video(np.concatenate(pictures[-2:], axis=2), 8, out / "clips" / f"{name}.mp4")
            verdict = (
                "" if each.wanted == each.found else f' <span class="wrong">taken for {each.found}</span>'
            )
            figures.append(
                f'<figure><video src="clips/{name}.mp4" autoplay loop muted playsinline></video>'
                f"<figcaption>{escape(each.wanted)}{verdict}</figcaption></figure>"
            )
        sheet = f"{kind}-{group}.jpg".replace(", ", "-").replace(" ", "-")
        (out / sheet).write_bytes(contact_sheet(pictures, rows=len(pictures)))
        right = sum(each.wanted == each.found for each in shown)
        parts.append(
            f"<h2>{escape(kind)}, {group}: the effect was found in {right} of {len(shown)}</h2>"
            f'<div class="pairs">{"".join(figures)}</div>'
        )
    page = out / "index.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><title>Generated clips</title><style>{STYLE}</style>"
        "<h1>Reference left, generated clip right</h1>" + "".join(parts),
        encoding="utf-8",
    )
    return page


def choose(shown: list[Shown], count: int = PER_GROUP) -> list[Shown]:
    """`count` clips, half of them failures where there are so many; each in the order they came."""
    right = [each for each in shown if each.wanted == each.found]
    wrong = [each for each in shown if each.wanted != each.found]
    failures = min(len(wrong), max(count // 2, count - len(right)))
    return [*right[: count - failures], *wrong[:failures]]
