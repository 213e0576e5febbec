"""Pictures for people: contact sheets of categories and the loss curve."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

THUMB = (132, 88)
COLUMNS = 6
MAX_ROWS = 4
# Of a sheet with labels, in pixels: a frame is shown at a width between these two.
GAP, LABEL, NARROWEST, WIDEST = 4, 18, 160, 240


def contact_sheet(clips: list[np.ndarray], rows: int = MAX_ROWS) -> bytes:
    """Lay out clips as rows and moments as columns.

    Args:
        clips: each uint8 [n, H, W, 3].
        rows: the first so many are shown.

    Returns:
        A JPEG.
    """
    shown = clips[:rows]
    width, height = THUMB
    sheet = Image.new("RGB", (COLUMNS * width, max(1, len(shown)) * height))
    for row, clip in enumerate(shown):
        for column, index in enumerate(np.linspace(0, len(clip) - 1, COLUMNS).round().astype(int)):
            sheet.paste(_thumbnail(clip[index]), (column * width, row * height))
    return _jpeg(sheet)


def poster_row(images: list[np.ndarray]) -> bytes:
    """Pictures beside each other, each uint8 [H, W, 3], as a JPEG."""
    width, height = THUMB
    row = Image.new("RGB", (len(images) * width, height))
    for column, image in enumerate(images):
        row.paste(_thumbnail(image), (column * width, 0))
    return _jpeg(row)


def moments(clip: np.ndarray) -> np.ndarray:
    """The frames of a clip uint8 [n, H, W, 3] that a sheet shows, first to last: [COLUMNS, H, W, 3]."""
    return clip[np.linspace(0, len(clip) - 1, COLUMNS).round().astype(int)]


def labelled_sheet(rows: Sequence[tuple[str, np.ndarray]], seconds: float) -> bytes:
    """A row for each label and its clip's `moments`, shown at the size of the first, as a JPEG.

    Args:
        seconds: from the first to the last moment; over the columns stands when they are.
    """
    tall, wide = rows[0][1].shape[1:3]
    share = min(max(wide, NARROWEST), WIDEST) / wide
    wide, tall = round(wide * share), round(tall * share)
    row, width = LABEL + tall + GAP, COLUMNS * (wide + GAP) + GAP
    sheet = Image.new("RGB", (width, LABEL + len(rows) * row + GAP), (250, 250, 248))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, moment in enumerate(np.linspace(0, seconds, COLUMNS)):
        pen.text((GAP + place * (wide + GAP), GAP), f"{moment:.1f} s", fill=(110, 110, 110), font=font)
    for number, (label, frames) in enumerate(rows):
        top = LABEL + GAP + number * row
        pen.text((GAP, top), _fitting(label, width - 2 * GAP, font), fill=(20, 20, 20), font=font)
        for place, frame in enumerate(frames):
            small = Image.fromarray(frame).resize((wide, tall), Image.Resampling.BICUBIC)
            sheet.paste(small, (GAP + place * (wide + GAP), top + LABEL))
    return _jpeg(sheet)


def _fitting(label: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The label, cut where it is wider than so many pixels."""
    cut = label
    while len(cut) > 1 and font.getlength(cut) > width:
        cut = cut[:-2] + "…"
    return cut


def _thumbnail(frame: np.ndarray) -> Image.Image:
    return Image.fromarray(frame).resize(THUMB, Image.Resampling.BILINEAR)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def loss_curve(rows: list[dict], path: Path) -> None:
    """Draw loss over steps, raw and as a running mean.

    Args:
        rows: dictionaries with `step` and `loss`, in order.
        path: where the PNG goes.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps = np.array([r["step"] for r in rows])
    loss = np.array([r["loss"] for r in rows])
    window = max(1, len(loss) // 12)
    kernel = np.ones(window) / window
    figure, axes = pyplot.subplots(figsize=(7.6, 3.2), dpi=110)
    axes.plot(steps, loss, color="#93c5fd", linewidth=1, label="loss of the step")
    if len(loss) >= window:
        axes.plot(
            steps[window - 1 :],
            np.convolve(loss, kernel, "valid"),
            color="#1d4ed8",
            label=f"mean of {window} logged",
        )
    axes.set_xlabel("step")
    axes.set_ylabel("v-prediction loss")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
