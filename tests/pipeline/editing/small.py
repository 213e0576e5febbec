"""A small Wan, a catalogue of its geometry, and a video of a square that moves, as files."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.edit import EditingSettings
from pipeline.video.transcode import encode_video
from training.backbones.settings import BackboneSettings
from training.methods.registry import editing
from training.settings import EditSettings

SPEC = ClipSpec(num_frames=9, fps=8, height=32, width=48)
EDIT = EditSettings(rank=4, steps=4, also_steps=3, lr=1e-3, sampling_steps=2, guidance=1.0, save_every=2)
BOX = "box:6,6,34,18"


def settings_of(folder: Path, **changes) -> EditingSettings:
    backbone = BackboneSettings(
        family="wan",
        model=str(folder),
        num_frames=SPEC.num_frames,
        height=SPEC.height,
        width=SPEC.width,
        max_text_tokens=16,
        dtype="float32",
    )
    edit = EDIT.model_copy(update=changes)
    return EditingSettings(backbone, editing(edit.rank), edit, {"edit": {}}, "abc")


def words_of(work: Path, folder: Path) -> list[str]:
    """The same for a command line."""
    settings = settings_of(folder)
    values = {f"clip.{name}": value for name, value in asdict(SPEC).items()}
    for section, each in {"backbone": settings.backbone, "edit": settings.edit}.items():
        values |= {f"{section}.{name}": value for name, value in each.model_dump().items()}
    values = {key: "null" if value is None else value for key, value in values.items()}
    return ["-w", str(work), *(word for key in values for word in ("--set", f"{key}={values[key]}"))]


def new_catalog(folder: Path) -> Catalog:
    return Catalog.create(str(folder / "catalog"), SPEC)


def frames() -> np.ndarray:
    rng = np.random.default_rng(0)
    video = np.repeat(rng.integers(20, 90, (1, 8, 12, 3)), 9, axis=0).astype(np.uint8)
    video = video.repeat(4, axis=1).repeat(4, axis=2)
    for number in range(9):
        video[number, 8:20, 8 + 2 * number : 20 + 2 * number] = (220, 60, 40)
    return video


def write_files(folder: Path) -> dict[str, str]:
    """v.mp4, edited.png, frame4.png and masks, by a short name."""
    video = frames()
    (folder / "v.mp4").write_bytes(encode_video(video, 8, crf=4))
    edited, fourth = video[0].copy(), video[4].copy()
    edited[8:20, 8:20] = fourth[8:20, 16:28] = (30, 60, 230)
    white = np.zeros((32, 48), dtype=np.uint8)
    white[6:24, 6:40] = 255
    moving = np.repeat(white[None, ..., None], 9, axis=0).repeat(3, axis=3)
    Image.fromarray(edited).save(folder / "edited.png")
    Image.fromarray(fourth).save(folder / "frame4.png")
    Image.fromarray(white).save(folder / "m.png")
    Image.fromarray(255 - white).save(folder / "turned.png")
    Image.fromarray(white * 0).save(folder / "empty.png")
    Image.fromarray(white * 0 + 255).save(folder / "full.png")
    Image.fromarray(white[:, :32]).save(folder / "square.png")
    (folder / "m.mp4").write_bytes(encode_video(moving, 8))
    (folder / "short.mp4").write_bytes(encode_video(moving[:5], 8))
    (folder / "text.mp4").write_text("no video")
    return {path.name: str(path) for path in folder.iterdir()}
