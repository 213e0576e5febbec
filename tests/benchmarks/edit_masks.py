"""What a Wan is shown of a video in each of the four cases of LoRA-Edit's masks, on a rendered sample.

`python -m tests.benchmarks.edit_masks --out cases.jpg` draws the video, and for each case the frames with
grey for what is made anew, beside the mask of the latents. Its last line is one JSON object: what is
preserved of each.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.samples.draw import draw_clip
from training.methods.registry import edit_masks

FRAMES, HEIGHT, WIDTH = 49, 160, 240
SHOWN = (0, 12, 24, 36, 48)
SAYS = {
    "first frame": "the first frame: image to video, as Wan was trained",
    "everything": "everything: the video is given back",
    "background": "the background: an edit of what moves",
    "foreground": "what moves: everything else is made anew",
}
MARGIN, HEAD, PAGE = 6, 30, (226, 228, 236)


def main(arguments: list[str] | None = None) -> dict:
    options = _options(arguments)
    masks = edit_masks()
    frames, caption, effect = draw_clip(0, FRAMES, HEIGHT, WIDTH, effects=(options.effect,))
    changed = moving(frames)
    rows = [(f"the video: {caption}", [frames[n] for n in SHOWN])]
    report: dict = {"effect": effect, "may_change": round(float(changed.mean()), 4), "preserved": {}}
    for name in masks.CASES:
        kept = masks.case(name, changed)
        shown = masks.greyed(frames, kept)
        told = masks.folded(kept, HEIGHT // 8, WIDTH // 8)
        report["preserved"][name] = round(float(told.mean()), 4)
        cells = [np.concatenate([shown[n], _of_latents(told, n)], axis=1) for n in SHOWN]
        rows.append((f"preserved is {SAYS[name]} ({told.mean():.0%} of the mask)", cells))
    rows[0] = (rows[0][0], [np.concatenate([each, np.full_like(each, PAGE)], axis=1) for each in rows[0][1]])
    _sheet(rows).save(options.out, quality=88)
    report["picture"] = str(options.out)
    print(json.dumps(report))
    return report


def moving(frames: np.ndarray) -> np.ndarray:
    """What may change, bool [n, H, W]: boxes of what a frame has other than the clip's usual picture."""
    usual = np.median(frames, axis=0)
    found = (np.abs(frames - usual).max(axis=3) > 24).astype(np.uint8)
    whole = np.stack([cv2.morphologyEx(each, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)) for each in found])
    return edit_masks().boxed(whole.astype(bool))


def _of_latents(told, number: int) -> np.ndarray:
    """The mask of a frame [H, W, 3] at the latents' size, white where it is preserved."""
    folded = 0 if number == 0 else 1 + (number - 1) // 4
    small = told[folded, 0 if number == 0 else (number - 1) % 4].numpy()
    large = small.repeat(8, axis=0).repeat(8, axis=1)
    return np.repeat((255 * large).astype(np.uint8)[..., None], 3, axis=2)


def _sheet(rows: list[tuple[str, list[np.ndarray]]]) -> Image.Image:
    tall, wide = rows[0][1][0].shape[:2]
    size = len(SHOWN) * (wide + MARGIN), len(rows) * (tall + MARGIN + HEAD)
    sheet, font = Image.new("RGB", size, PAGE), ImageFont.load_default(HEAD - 6)
    draw = ImageDraw.Draw(sheet)
    for row, (title, cells) in enumerate(rows):
        top = row * (tall + MARGIN + HEAD)
        draw.text((2, top + 2), title, fill="black", font=font)
        for column, cell in enumerate(cells):
            sheet.paste(Image.fromarray(cell), (column * (wide + MARGIN), top + HEAD))
    return sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3), Image.Resampling.LANCZOS)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("edit-masks.jpg"))
    parser.add_argument("--effect", default="melt", help="of the renderer")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
