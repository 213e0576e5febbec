"""What an edit is asked for, and the same as pixels: read, at one geometry, and looked at for sense."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from catalog.store import Catalog
from pipeline.editing.folder import EditFolder, is_edit_folder
from pipeline.editing.shown import Shown, picture_size, read_still, read_video
from pipeline.errors import BadSource
from pipeline.example import is_there
from pipeline.video.picture import read_picture
from pipeline.video.plan import plan_fit
from training.errors import BadMask
from training.methods.registry import edit_masks

DIFFERENCE, EVERYTHING, BOX = "difference", "everything", "box:"
WAYS = "a picture, a video, box:left,top,width,height, difference or everything"


@dataclass(frozen=True)
class EditRequest:
    """An edit by name.

    Attributes:
        video: a file, a clip_id, or a folder as the released tool lays it out.
        prompt: what the edited video shows.
        first_frame: the video's first frame, edited; None takes that of the folder.
        mask: what may change: a picture or video, white where it may; "box:left,top,width,height" in the
            video's pixels; "difference" of the two first frames; "everything". None: the folder's, else the
            difference.
        inverted: white in the mask is what stays.
        also: further edited frames, by number of the clip's frame.
        caption: what the video shows as it is; None: the clip's own, the folder's, or nothing.
        lora: a LoRA file that is taken in the place of a fit.
    """

    video: str
    prompt: str
    first_frame: str | None = None
    mask: str | None = None
    inverted: bool = False
    also: Mapping[int, str] = field(default_factory=dict)
    caption: str | None = None
    lora: str | None = None


@dataclass(frozen=True)
class Edit:
    """The same as pixels, at the catalogue's geometry.

    Attributes:
        request: what it was read from.
        frames: uint8 [n, H, W, 3].
        edited: uint8 [H, W, 3], the edited first frame; None where the request names none.
        kept: bool [n, H, W], what is preserved.
        changed: bool [n, H, W], what the mask says may change, of the first frame too.
        also: uint8 [H, W, 3] by number of the frame.
        clip_id: of a clip of the catalogue, else None.
    """

    request: EditRequest
    frames: np.ndarray
    edited: np.ndarray | None
    kept: np.ndarray
    changed: np.ndarray
    also: dict[int, np.ndarray]
    caption: str
    clip_id: str | None

    def digest(self) -> str:
        """Of everything that a fit learns from."""
        total = hashlib.sha256()
        pixels = {"frames": self.frames, "changed": self.changed, "kept": self.kept}
        pixels |= {str(number): self.also[number] for number in sorted(self.also)}
        for name, value in pixels.items():
            total.update(f"{name} {value.shape}\n".encode())
            total.update(np.ascontiguousarray(value).tobytes())
        return total.hexdigest()


def read_edit(catalog: Catalog, request: EditRequest) -> Edit:
    """Read all that a request names, and refuse what makes no sense together.

    Raises:
        BadSource: what cannot be read, or is of another shape than the video.
        BadMask: a mask that says nothing about the video.
    """
    given = EditFolder.read(Path(request.video), catalog.spec) if is_edit_folder(request.video) else None
    video = given.video if given else read_video(catalog, request.video)
    count, height, width = video.frames.shape[:3]
    edited = None
    if (name := request.first_frame or (given and given.edited)) is not None:
        edited = read_still(video, "The edited first frame", name, catalog)
    names = {**(given.also if given else {}), **request.also}
    for number in names:
        if not 1 <= number < count:
            raise BadSource(
                f"--also {number}={names[number]}: the clip's frames are 1 to {count - 1}, and 0 is that of"
                " --first-frame."
            )
    also = {n: read_still(video, f"The edited frame {n}", each, catalog) for n, each in names.items()}
    masks = edit_masks()
    if request.mask == EVERYTHING:
        changed = np.ones((count, height, width), dtype=bool)
        kept = masks.case("first frame", changed)
    else:
        if request.mask is None and given is not None and given.changed is not None:
            changed = given.changed
        else:
            changed = _changed(catalog, video, request.mask or DIFFERENCE, edited)
            changed = ~changed if request.inverted else changed
            masks.require_sense(changed, count, height, width)
            # Before regions become boxes: that of what lies around something is the whole picture.
            if edited is not None and request.mask not in (None, DIFFERENCE):
                masks.require_polarity(changed, _differs(video.frames[0], edited))
            changed = masks.boxed(changed)
        masks.require_sense(changed, count, height, width)
        kept = masks.preserved(changed)
    caption = request.caption
    if caption is None:
        caption = given.caption if given else video.caption
    return Edit(request, video.frames, edited, kept, changed, also, caption, video.clip_id)


def _changed(catalog: Catalog, video: Shown, mask: str, edited: np.ndarray | None) -> np.ndarray:
    """What a mask says may change, bool [n, H, W]."""
    masks, (count, height, width) = edit_masks(), video.frames.shape[:3]
    if mask == DIFFERENCE:
        if edited is None:
            raise BadSource(
                "--mask difference compares two first frames: name the edited one, --first-frame."
            )
        return masks.of_difference(video.frames[0], edited, count)
    if mask.startswith(BOX):
        return masks.of_box(_fitted(_box(mask), video, catalog), height, width, count)
    if (size := picture_size(mask)) is not None:
        video.require_shape("The mask", mask, *size)
        return masks.of_picture(read_picture(Path(mask), catalog.spec), count)
    if not is_there(mask) and not catalog.videos([mask]):
        raise BadSource(f"--mask {mask!r} is no file: name {WAYS}.")
    shown = read_video(catalog, mask)
    video.require_shape("The mask", mask, shown.width, shown.height)
    if shown.count not in (video.count, count):
        raise BadMask(
            f"The mask {mask!r} has {shown.count} frames and the video {video.count}: a mask video is as long"
            " as the video, frame by frame; a picture holds for all frames."
        )
    return masks.of_video(shown.frames)


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(part) for part in text.removeprefix(BOX).split(","))
    except ValueError:
        box = ()
    if len(box) != 4 or not np.isfinite(box).all() or min(box[2:], default=0) <= 0:
        raise BadSource(f"--mask {text!r} is no box: say box:left,top,width,height, as in box:40,30,200,120.")
    return box


def _fitted(box: tuple[float, ...], video: Shown, catalog: Catalog) -> tuple[float, ...]:
    """A box in the video's own pixels, in those of the clip."""
    fit = plan_fit(max(1, round(video.width)), max(1, round(video.height)), 1.0, catalog.spec, "crop")
    across, down = fit.width / video.width, fit.height / video.height
    left, top, wide, tall = box
    return left * across - fit.left, top * down - fit.top, wide * across, tall * down


def _differs(original: np.ndarray, edited: np.ndarray) -> np.ndarray:
    try:
        difference: np.ndarray = edit_masks().of_difference(original, edited, 1)[0]
    except BadMask:  # nothing was edited: that is a reconstruction, which is a person's choice
        return np.zeros(original.shape[:2], dtype=bool)
    return difference
