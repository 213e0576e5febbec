"""The folder of one edit as the released LoRA-Edit tool lays it out, read and written.

source_frames/00000.png …        the video, frame by frame
source_masks/00000.png …         white where pixels may change, boxed
edited_image.png                 the first frame, edited
additional_edited_frames/NNNNN.png
prefix.txt                       the special token
traindata/sequence_all_frames_N.mp4, .txt
    first frame; the N frames with grey; the N frames; N masks: 1 + 3 N in all; and the caption
inference_rgb.mp4, inference_mask.mp4
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image

from catalog.clip_spec import ClipSpec
from pipeline.editing.shown import Shown, picture_size
from pipeline.errors import BadSource
from pipeline.example import decoded
from pipeline.video.picture import read_picture
from pipeline.video.transcode import encode_video, read_clip
from training.files import write_atomically
from training.methods.registry import edit_masks

if TYPE_CHECKING:
    from pipeline.editing.ask import Edit

FRAMES, MASKS, ALSO, TRAIN = "source_frames", "source_masks", "additional_edited_frames", "traindata"
PREFIX, EDITED = "prefix.txt", "edited_image"
# As the tool writes them: frames a second, and quality.
TRAIN_FPS, FPS, CRF = 5, 25, 11
_SEQUENCE = re.compile(r"sequence_all_frames_(\d+)\.mp4")


def is_edit_folder(name: str) -> bool:
    """Whether a folder is laid out so."""
    try:
        path = Path(name)
        return path.is_dir() and ((path / FRAMES).is_dir() or (path / TRAIN).is_dir())
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class EditFolder:
    """What lies in one.

    Attributes:
        video: its frames.
        changed: bool [n, H, W], what its masks say may change; None where it has none.
        caption: of traindata, without the token.
        token: of prefix.txt, "" where there is none.
        edited: path of the edited first frame, or None.
        also: paths of further edited frames, by number of the clip's frame.
    """

    video: Shown
    changed: np.ndarray | None
    caption: str
    token: str
    edited: str | None
    also: dict[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, spec: ClipSpec) -> Self:
        """Read a folder; its frames are spread over a clip's as a video's are.

        Raises:
            BadSource: it holds no video, masks that do not belong to it, or files that cannot be read.
        """
        if (folder / FRAMES).is_dir():
            video, masks, chosen = _of_pictures(folder, spec)
        else:
            video, masks, chosen = _of_sequence(folder / TRAIN, spec)
        token = _text(folder / PREFIX)
        sequence = next(iter(sorted((folder / TRAIN).glob("sequence_all_frames_*.txt"))), None)
        caption = (_text(sequence) if sequence else "").removeprefix(token).strip()
        edited = next((str(p) for end in ("png", "jpg") if (p := folder / f"{EDITED}.{end}").is_file()), None)
        place = {frame: number for number, frame in reversed(list(enumerate(chosen)))}
        also = {}
        for number, path in _numbered(folder / ALSO).items():
            if number not in place:
                raise BadSource(
                    f"{path} is a frame that the clip of {spec.num_frames} frames does not take: edit one of"
                    f" {', '.join(map(str, sorted(place)[1:4]))}, …"
                )
            if place[number]:
                also[place[number]] = str(path)
        return cls(video, masks, caption, token, edited, also)


def write_edit_folder(folder: Path, edit: "Edit", token: str, with_masks: bool = True) -> list[str]:
    """Lay an edit out for the released tool, or for a person who edits its frames; returns what was written.

    Raises:
        BadSource: the folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadSource(f"{folder} holds something already: name a new folder.")
    masks = edit_masks()
    (folder / ALSO).mkdir(parents=True)
    _write_pictures(folder / FRAMES, edit.frames)
    write_atomically(folder / PREFIX, token)
    for number, picture in edit.also.items():
        Image.fromarray(picture).save(folder / ALSO / f"{number:05d}.png")
    if edit.edited is not None:
        Image.fromarray(edit.edited).save(folder / f"{EDITED}.png")
    if with_masks:
        shown = _grey_levels(edit.changed)
        _write_pictures(folder / MASKS, shown[..., 0])
        # While it learns the first frame is preserved, and the tool's files for inference say it of none.
        sequence = [
            edit.frames[:1],
            masks.greyed(edit.frames, edit.kept),
            edit.frames,
            _grey_levels(~edit.kept),
        ]
        stem = folder / TRAIN / f"sequence_all_frames_{len(edit.frames)}"
        write_atomically(stem.with_suffix(".mp4"), encode_video(np.concatenate(sequence), TRAIN_FPS, CRF))
        write_atomically(stem.with_suffix(".txt"), f"{token} {edit.caption}".strip())
        greyed = masks.greyed(edit.frames, ~edit.changed)
        write_atomically(folder / "inference_rgb.mp4", encode_video(greyed, FPS, CRF))
        write_atomically(folder / "inference_mask.mp4", encode_video(shown, FPS, CRF))
    return sorted(path.name for path in folder.iterdir())


def _of_pictures(folder: Path, spec: ClipSpec) -> tuple[Shown, np.ndarray | None, list[int]]:
    files = _numbered(folder / FRAMES)
    if len(files) < 2:
        raise BadSource(f"{folder / FRAMES} holds {len(files)} numbered pictures: a video needs 2 or more.")
    numbers = sorted(files)
    chosen = [numbers[place] for place in _spread(len(numbers), spec)]
    frames = np.stack([_picture(files[number], spec) for number in chosen])
    size = picture_size(str(files[numbers[0]]))
    assert size is not None
    video = Shown(str(folder), frames, *size, len(numbers))
    given = _numbered(folder / MASKS)
    if not given:
        return video, None, chosen
    if missing := sorted(set(numbers) ^ set(given)):
        raise BadSource(
            f"{folder / MASKS} and {folder / FRAMES} hold other numbers, {missing[0]:05d} first: each frame"
            " has one mask of the same number."
        )
    first = picture_size(str(given[numbers[0]]))
    if first is not None:
        video.require_shape("The mask", str(given[numbers[0]]), *first)
    masks = np.stack([_picture(given[number], spec) for number in chosen])
    return video, edit_masks().of_video(masks), chosen


def _of_sequence(folder: Path, spec: ClipSpec) -> tuple[Shown, np.ndarray, list[int]]:
    """Frames and masks of the one video that the tool trains on."""
    named = {path: match for path in sorted(folder.iterdir()) if (match := _SEQUENCE.fullmatch(path.name))}
    if len(named) != 1:
        raise BadSource(
            f"{folder} holds {len(named)} videos named sequence_all_frames_N.mp4, and one is needed."
        )
    path, count = next((path, int(match[1])) for path, match in named.items())
    whole = 1 + 3 * count
    # Frame by frame: a clip of exactly as many frames, so that none is left out or repeated.
    padded = whole + -(whole - 1) % 4
    answer = decoded(path, replace(spec, num_frames=padded))
    facts = answer.facts
    if facts["source_frames"] != whole:
        raise BadSource(
            f"{path} has {facts['source_frames']} frames, and with N={count} it has 1 + 3 N = {whole}: the"
            " first frame, N with grey, N as they are, N masks."
        )
    frames = read_clip(answer.clips[0].video)[_places(whole, padded)]
    chosen = _spread(count, spec)
    video = frames[1 + count : 1 + 2 * count][chosen]
    masks = edit_masks().of_video(frames[1 + 2 * count :][chosen])
    # Of the first frame the sequence's mask is black; what may change there is what may in the next.
    masks[0] = masks[1]
    return Shown(str(path), video, facts["source_width"], facts["source_height"], count), masks, chosen


def _places(count: int, spread: int) -> list[int]:
    """Where each of `count` frames stands first when they are spread over more."""
    shown = np.floor(np.linspace(0, count - 1, spread) + 1e-6).astype(int).tolist()
    return [shown.index(number) for number in range(count)]


def _spread(count: int, spec: ClipSpec) -> list[int]:
    """Which of `count` frames a clip takes, as ingestion does with a video of even frames."""
    return np.floor(np.linspace(0, count - 1, spec.num_frames) + 1e-6).astype(int).tolist()


def _picture(path: Path, spec: ClipSpec) -> np.ndarray:
    picture = read_picture(path, spec)
    if picture is None:
        raise BadSource(f"{path} is no picture: save it as PNG.")
    return picture


def _numbered(folder: Path) -> dict[int, Path]:
    """Pictures by the number that is their name."""
    if not folder.is_dir():
        return {}
    files = (path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return {int(path.stem): path for path in files if path.stem.isdecimal()}


def _grey_levels(mask: np.ndarray) -> np.ndarray:
    """A mask bool [n, H, W] as a video uint8 [n, H, W, 3]."""
    return np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=3)


def _write_pictures(folder: Path, pictures: np.ndarray) -> None:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:05d}.png")


def _text(path: Path) -> str:
    """What a small text file says, on one line; "" where it is none."""
    try:
        with path.open("rb") as file:
            return " ".join(file.read(10_000).decode("utf-8", "replace").split())
    except OSError:
        return ""
