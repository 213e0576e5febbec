"""The page and the sheet of the comparison of methods: the same reference or edit under every method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.video.transcode import write_video
from tests.benchmarks.methods_claims import Claim

STYLE = """body{font:15px system-ui;margin:2rem;max-width:110rem}
table{border-collapse:collapse;font-size:13px}
td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{
text-align:left}.strip{display:flex;flex-wrap:wrap;gap:.8rem;margin:0 0 1.4rem}figure{margin:0}
video{width:192px;image-rendering:pixelated}figcaption{font-size:13px}.wrong{color:#b91c1c}"""
MOMENTS = (0.5, 1.0)
GAP, LABEL = 6, 14


@dataclass(frozen=True)
class Cell:
    """One clip uint8 [n, H, W, 3], what made it, and what is said of it; `wrong` is told in red."""

    made_by: str
    clip: np.ndarray
    note: str = ""
    wrong: bool = False


@dataclass(frozen=True)
class Strip:
    """What is compared: the same task under every method."""

    title: str
    cells: Sequence[Cell]


def write_page(
    out: Path,
    sections: Mapping[str, Sequence[Strip]],
    table: str,
    claims: Sequence[Claim],
    notes: Sequence[str],
) -> Path:
    """Write `out`/index.html, its videos and `out`/sheet.png; returns the page.

    Args:
        sections: strips by heading, those with failures among them.
        table: Markdown.
        notes: sentences on what the figures are of.
    """
    (out / "clips").mkdir(parents=True, exist_ok=True)
    parts = []
    for number, (heading, strips) in enumerate(sections.items()):
        parts.append(f"<h2>{escape(heading)}</h2>")
        for place, strip in enumerate(strips):
            figures = "".join(
                _figure(out, f"{number}-{place}-{column}.mp4", cell)
                for column, cell in enumerate(strip.cells)
            )
            parts.append(f'<h3>{escape(strip.title)}</h3><div class="strip">{figures}</div>')
    said = "".join(f"<li>{escape(claim.sentence())}</li>" for claim in claims)
    noted = "".join(f"<p>{escape(note)}</p>" for note in notes)
    page = out / "index.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><title>Methods</title><style>{STYLE}</style><h1>Methods on equal"
        f" terms</h1>{noted}{_html(table)}<h2>What the papers say, and what these figures say</h2>"
        f"<ul>{said}</ul>{''.join(parts)}",
        encoding="utf-8",
    )
    sheet([strip for strips in sections.values() for strip in strips]).save(out / "sheet.png", optimize=True)
    return page


def _figure(out: Path, name: str, cell: Cell) -> str:
    write_video(cell.clip, 8, out / "clips" / name)
    note = escape(cell.note)
    note = f' <span class="wrong">{note}</span>' if cell.wrong else f" {note}"
    return (
        f'<figure><video src="clips/{name}" autoplay loop muted playsinline></video>'
        f"<figcaption>{escape(cell.made_by)}{note}</figcaption></figure>"
    )


def _html(table: str) -> str:
    """Of a Markdown table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    head, body = rows[0], rows[2:]

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in body)}</table>"


def sheet(strips: Sequence[Strip]) -> Image.Image:
    """A row for each strip, for each of its clips the frames at MOMENTS."""
    tall, wide = strips[0].cells[0].clip.shape[1:3]
    across, down = len(MOMENTS) * wide + GAP, LABEL + tall + GAP
    columns = max(len(strip.cells) for strip in strips)
    page = Image.new("RGB", (columns * across, len(strips) * (down + LABEL)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for row, strip in enumerate(strips):
        top = row * (down + LABEL)
        pen.text((2, top), strip.title, fill="black", font=font)
        for column, cell in enumerate(strip.cells):
            left = column * across
            told = f"{cell.made_by} {cell.note}"
            pen.text((left + 2, top + LABEL), told, fill="#b91c1c" if cell.wrong else "#444", font=font)
            for place, moment in enumerate(MOMENTS):
                frame = Image.fromarray(cell.clip[round(moment * (len(cell.clip) - 1))])
                page.paste(frame, (left + place * wide, top + 2 * LABEL))
    return page
