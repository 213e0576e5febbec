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
GAP, LABEL = 6, 14  # pixels; LABEL is a line of text


@dataclass(frozen=True)
class Cell:
    """One clip uint8 [n, H, W, 3], what made it, and what is said of it; `wrong` is told in red."""

    made_by: str
    clip: np.ndarray
    note: str = ""
    wrong: bool = False

    @property
    def told(self) -> str:
        """What stands over it."""
        return f"{self.made_by}: {self.note}" if self.note else self.made_by


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
    # An earlier page of the same run may have had its sections in another order.
    for earlier in (out / "clips").glob("[0-9]*-[0-9]*-[0-9]*.mp4"):
        earlier.unlink()
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
    """A row for each strip, for each of its clips the frames at MOMENTS; labels are wrapped within a clip."""
    tall, wide = strips[0].cells[0].clip.shape[1:3]
    across = len(MOMENTS) * wide + GAP
    width = across * max(len(strip.cells) for strip in strips)
    font = ImageFont.load_default(11)
    labels = [[wrapped(cell.told, across - GAP, font) for cell in strip.cells] for strip in strips]
    titles = [wrapped(strip.title, width - GAP, font) for strip in strips]
    above = [LABEL * (len(title) + max(map(len, row))) for title, row in zip(titles, labels, strict=True)]
    page = Image.new("RGB", (width, sum(above) + len(strips) * (tall + 2 * GAP)), "white")
    pen, top = ImageDraw.Draw(page), 0
    for strip, title, row, used in zip(strips, titles, labels, above, strict=True):
        _text(pen, (2, top), title, "black", font)
        for column, (cell, label) in enumerate(zip(strip.cells, row, strict=True)):
            left = column * across
            colour = "#b91c1c" if cell.wrong else "#444"
            _text(pen, (left + 2, top + LABEL * len(title)), label, colour, font)
            for place, moment in enumerate(MOMENTS):
                frame = Image.fromarray(cell.clip[round(moment * (len(cell.clip) - 1))])
                page.paste(frame, (left + place * wide, top + used))
        top += used + tall + 2 * GAP
    return page


def _text(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    lines: Sequence[str],
    colour: str,
    font: ImageFont.FreeTypeFont,
) -> None:
    for number, line in enumerate(lines):
        pen.text((at[0], at[1] + LABEL * number), line, fill=colour, font=font)


def wrapped(text: str, width: float, font: ImageFont.FreeTypeFont) -> list[str]:
    """Lines of words, none wider than so many pixels unless one word is."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
