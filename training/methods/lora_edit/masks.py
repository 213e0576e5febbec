"""What of a video an edit may change, and what a Wan is told of it: masks as pure functions.

Here `changed` is bool [n, H, W], True where pixels may change. What the model is given is the other way
round: 1 where pixels are preserved. Of the first frame all is preserved: it is the one that was edited.
"""

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.errors import BadMask

# Pixels that may change are shown to the model in this grey.
GREY = 128
# A region's bounding box counts from this area on, and is grown by this share of its sides.
SMALLEST, GROWN = 50, 0.1
# Over this share of its height a picture goes over from what is preserved to what was made.
EDGE = 0.02
# From here on a grey level of a painted mask is white.
WHITE = 128
# Two pictures differ where a colour does by so many levels, once noise is smoothed over so many pixels.
DIFFERENCE, SMOOTHED = 24, 5

Case = Literal["first frame", "everything", "background", "foreground"]
CASES: tuple[Case, ...] = ("first frame", "everything", "background", "foreground")


def of_box(box: Sequence[float], height: int, width: int, count: int) -> np.ndarray:
    """The same rectangle in `count` frames.

    Args:
        box: left, top, width and height in pixels; parts outside the picture do not count.

    Raises:
        BadMask: nothing of it lies in the picture.
    """
    left, top, wide, tall = box
    changed = np.zeros((count, height, width), dtype=bool)
    columns, rows = (slice(max(0, round(a)), max(0, round(a + b))) for a, b in ((left, wide), (top, tall)))
    changed[:, rows, columns] = True
    if not changed.any():
        raise BadMask(
            f"The box {left:g},{top:g},{wide:g},{tall:g} lies outside the picture of {width}×{height}: name"
            " left,top,width,height in pixels of the video, as in box:40,30,200,120."
        )
    return changed


def of_picture(picture: np.ndarray, count: int) -> np.ndarray:
    """A painted picture uint8 [H, W, 3], white where pixels may change, in `count` frames."""
    return np.repeat(of_video(picture[None]), count, axis=0)


def of_video(frames: np.ndarray) -> np.ndarray:
    """A mask video uint8 [n, H, W, 3], white where pixels may change."""
    return frames.mean(axis=3) >= WHITE


def of_difference(original: np.ndarray, edited: np.ndarray, count: int) -> np.ndarray:
    """Where an edited first frame differs from the original, both uint8 [H, W, 3], in `count` frames.

    Raises:
        BadMask: it does not.
    """
    size = (SMOOTHED, SMOOTHED)
    smooth, other = (cv2.GaussianBlur(each, size, 0).astype(np.int16) for each in (original, edited))
    changed = np.abs(smooth - other).max(axis=2) >= DIFFERENCE
    # Holes inside what was painted over belong to it, specks of one pixel are noise.
    kernel = np.ones(size, dtype=np.uint8)
    closed = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    closed = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), dtype=np.uint8))
    if not closed.any():
        raise BadMask(
            "The edited first frame does not differ from the video's own: edit it, or say what may change,"
            " with --mask box:left,top,width,height."
        )
    return np.repeat(closed.astype(bool)[None], count, axis=0)


def boxed(changed: np.ndarray) -> np.ndarray:
    """Every frame's regions as bounding boxes of at least SMALLEST pixels, grown by a share of their sides.

    As the released tool does it: half of what a side grows goes before it, in whole pixels.
    """
    found = np.zeros_like(changed)
    for number, frame in enumerate(changed):
        # Most masks do not move: the same boxes again.
        if number and np.array_equal(frame, changed[number - 1]):
            found[number] = found[number - 1]
            continue
        contours, _ = cv2.findContours(frame.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            left, top, wide, tall = cv2.boundingRect(contour)
            if wide * tall < SMALLEST:
                continue
            more_wide, more_tall = int(wide * GROWN), int(tall * GROWN)
            left, top = max(0, left - more_wide // 2), max(0, top - more_tall // 2)
            found[number, top : top + tall + more_tall, left : left + wide + more_wide] = True
    return found


def require_sense(changed: np.ndarray, count: int, height: int, width: int) -> None:
    """Check that a mask says something about a clip of `count` frames.

    Raises:
        BadMask: it is of another length or size, empty, or full.
    """
    if len(changed) != count:
        raise BadMask(
            f"The mask has {len(changed)} frames and the video {count}: a mask video is as long as the video,"
            " frame by frame; a picture holds for all frames."
        )
    if changed.shape[1:] != (height, width):
        raise BadMask(
            f"The mask is {changed.shape[2]}×{changed.shape[1]} and the video {width}×{height}: paint it over"
            " a frame of the video."
        )
    if not changed.any():
        raise BadMask(
            f"The mask is empty: no region of {SMALLEST} pixels is white, so nothing may change. White is"
            " what may change."
        )
    if changed.all():
        raise BadMask(
            "The mask is full: everything may change and nothing is preserved. Leave black what is to stay,"
            " or say --mask everything."
        )


def require_polarity(changed: np.ndarray, difference: np.ndarray) -> None:
    """Check that a mask's first frame holds more of what the edit changed than its opposite does.

    Args:
        changed: of the mask.
        difference: of `of_difference`, the first frame of it [H, W].

    Raises:
        BadMask: the edit lies where the mask preserves.
    """
    inside = int((changed[0] & difference).sum())
    # Outside what it names most masks are large: shares of the two regions, not pixels, are compared.
    outside = int((~changed[0] & difference).sum())
    named, rest = int(changed[0].sum()), int((~changed[0]).sum())
    if outside > inside and outside / max(1, rest) > inside / max(1, named):
        raise BadMask(
            f"{outside / (inside + outside):.0%} of what the edited first frame changes lies where the mask"
            " preserves: white is what may change. Turn the mask round with --invert-mask, or paint over all"
            " that was edited."
        )


def preserved(changed: np.ndarray) -> np.ndarray:
    """What the model is told: bool [n, H, W], True where pixels are preserved, and all of the first frame."""
    return case("background", changed)


def greyed(frames: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Frames uint8 [n, H, W, 3] with grey for what is not preserved."""
    return np.where(kept[..., None], frames, np.uint8(GREY))


def put_back(made: np.ndarray, shown: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """A video with the pixels that it was told to preserve as they are in what it was shown.

    Inside the edge of what was made anew the two are mixed over EDGE of the picture's height, so that no seam
    is seen; what is preserved is never mixed.

    Args:
        made, shown: uint8 [n, H, W, 3].
        kept: bool [n, H, W].
    """
    edge = max(1.0, EDGE * made.shape[1])
    found = made.copy()
    for number, here in enumerate(kept):
        if here.any():
            inside = cv2.distanceTransform((~here).astype(np.uint8), cv2.DIST_L2, 3)
            share = np.clip(inside / edge, 0, 1)[..., None]
            mixed = share * made[number] + (1 - share) * shown[number]
            found[number] = np.rint(mixed).astype(np.uint8)
    return found


def sized(frames: np.ndarray, kept: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 [n, h, w, 3] and what of them is preserved, bool [n, h, w], at another size."""
    if frames.shape[1:3] == (height, width):
        return frames, kept
    small = [cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in frames]
    nearest = cv2.INTER_NEAREST
    where = [cv2.resize(each.astype(np.uint8), (width, height), interpolation=nearest) for each in kept]
    return np.stack(small), np.stack(where).astype(bool)


def psnr(made: np.ndarray, shown: np.ndarray, kept: np.ndarray) -> float | None:
    """How near the preserved pixels of a video are to what was shown, in dB; None where none is preserved, or
    all are the same."""
    if not kept.any():
        return None
    error = float(np.square(made[kept].astype(np.float64) - shown[kept]).mean())
    return 10 * math.log10(255**2 / error) if error else None


def folded(kept: np.ndarray, height: int, width: int, ratio: int = 4) -> Tensor:
    """A mask of pixels [n, H, W] as the transformer takes it, fp32 [1 + (n - 1) / ratio, ratio, h, w].

    Nearest to the latents' size; the first frame `ratio` times, then `ratio` frames to one. The channels of a
    latent frame are its pixels' frames in order, as in diffusers' `WanImageToVideoPipeline`.

    Raises:
        BadMask: n is not 1 more than a multiple of `ratio`.
    """
    if len(kept) % ratio != 1:
        raise BadMask(f"A mask of {len(kept)} frames cannot be folded by {ratio}: it needs {ratio}k + 1.")
    small = F.interpolate(torch.from_numpy(kept)[None].float(), size=(height, width), mode="nearest")[0]
    whole = torch.cat([small[:1].repeat(ratio, 1, 1), small[1:]])
    return whole.view(-1, ratio, height, width)


def case(name: Case, changed: np.ndarray) -> np.ndarray:
    """What is preserved in each of the paper's four cases, bool [n, H, W].

    "first frame": the image-to-video model's own mask. "everything": the video is given back. "background":
    an edit of what `changed` names. "foreground": everything else is made anew.
    """
    kept = {
        "first frame": np.zeros_like(changed),
        "everything": np.ones_like(changed),
        "background": ~changed,
        "foreground": changed.copy(),
    }[name]
    kept[0] = True
    return kept
