"""Do clips of one effect lie together, and do words find them?

`python -m tests.benchmarks.retrieval` renders clips of scenes that no model here was taught, of categories
that the pocket CLIP was taught and of others: of those `development`, by which the descriptor's weights were
chosen, and `test`, by which nothing was. It measures the catalogue's descriptor, its part that is learned
from frames and its part that is measured on pixels, beside the mean of the same frame vectors and of pictures
as they are: mAP, 1-NN and NMI by category; recall@10 of clips by name and by wordings that were never taught;
whether a linear probe tells a clip from its reverse.
With VIDEO2LORA_CORPUS the same on real clips, whose folders are the labels, used for scoring only. Prints one
JSON object as its last line.
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from catalog.clip_spec import ClipSpec
from pipeline.embedding import change
from pipeline.embedding.descriptor import describe, describe_frames
from pipeline.embedding.embedder import Embedder
from pipeline.embedding.settings import EmbedSettings
from pipeline.pocket.clip_renders import MEASURED_ON, render_categories
from pipeline.samples.categories import CATEGORIES
from pipeline.samples.splits import DEVELOPMENT, TEST, UNSEEN
from pipeline.samples.wordings import name_in_words, wordings
from pipeline.sources.survey import discover
from pipeline.video.decode import decode_clip
from pipeline.video.limits import DecodeLimits
from pipeline.video.plan import TooFewFrames, plan_frames
from pipeline.video.planes import frame_of, to_rgb
from pipeline.video.probe import probe
from pipeline.video.rejection import Rejection
from tests.benchmarks.retrieval_metrics import (
    compared,
    interval,
    recall_at,
    tells_direction,
)

# Folders of the corpus that hold a data set or a task and no single effect.
LOOSE = ("style_", "vfxc_", "subject_swap", "motion_transfer", "camera_motion", "video_edit_other")
LOOSE += ("unedited_source", "t2v_plain", "multi_vfx", "das_3d_control")
SPEC = ClipSpec(num_frames=25, height=96, width=144)
CORPUS = f"corpus-rgb-{SPEC.num_frames}.npz"
# Of the categories never taught, those by which choices were made, and those that nobody looked at.
PARTS = {
    "taught": frozenset(CATEGORIES) - UNSEEN,
    **{
        name: frozenset(each for names in split.values() for each in names)
        for name, split in (("development", DEVELOPMENT), ("test", TEST))
    },
}


def main(arguments: list[str] | None = None) -> dict:
    options = parser_of(__doc__).parse_args(arguments)
    embedder = Embedder(EmbedSettings(model=options.model, pretrained=options.pretrained))
    names = chosen(options.categories)
    clips, _ = render_categories(
        names,
        options.clips,
        MEASURED_ON,
        options.work / "measured",
        options.processes,
        frames=change.FRAMES,
    )
    labels = np.repeat(np.array(names), options.clips)
    report: dict = {"embedder": embedder.embedder_id, "clips": len(labels)}
    report |= on_clips(embedder, list(clips.reshape(-1, *clips.shape[2:])), labels, PARTS)
    report["words"] = words(embedder, report.pop("vectors"), labels)
    if options.corpus:
        clips, labels = corpus(Path(options.corpus) / "effects", options.work / CORPUS)
        report["corpus"] = on_clips(embedder, list(clips), labels)
        report["corpus"] |= {"clips": len(labels), "categories": len(np.unique(labels))}
        del report["corpus"]["vectors"]
    print(json.dumps(report))
    return report


def chosen(count: int) -> tuple[str, ...]:
    """So many categories, half of them, where there are enough, such as the pocket CLIP was never taught."""
    unseen = [name for name in CATEGORIES if name in UNSEEN][: count // 2]
    seen = [name for name in CATEGORIES if name not in UNSEEN][: count - len(unseen)]
    return (*seen, *unseen)


def on_clips(
    embedder: Embedder,
    clips: list[np.ndarray],
    labels: np.ndarray,
    parts: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> dict:
    """What `compared` says of all clips, and of those of some categories; `vectors` are the descriptors."""
    vectors, backward = kinds(embedder, clips), kinds(embedder, [clip[::-1] for clip in clips])
    report: dict = {"all": compared(vectors, labels)}
    for name, categories in parts.items():
        part = np.isin(labels, list(categories))
        if 0 < part.sum() < len(labels):
            report[name] = compared({kind: x[part] for kind, x in vectors.items()}, labels[part])
    groups = np.arange(len(labels))
    report["forward_or_reversed"] = {
        kind: round(tells_direction(vectors[kind], backward[kind], groups), 4)
        for kind in ("descriptor", "learned", "pixels", "mean")
    }
    return report | {"vectors": vectors["descriptor"]}


def kinds(embedder: Embedder, clips: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Vectors [n, …] of several kinds, of clips uint8 [frames, H, W, 3]."""
    rows: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(clips), 32):
        looks = [embedder.look(clip) for clip in clips[start : start + 32]]
        frames = embedder.frame_vectors([look.chosen for look in looks])
        blocks = {name: np.stack([look.blocks[name] for look in looks]) for name in change.BLOCKS}
        pixels = embedder.directions.of(blocks)
        small = [_thumbnails(look.chosen) for look in looks]
        made = {
            "descriptor": describe(torch.stack(frames), torch.from_numpy(pixels)).numpy(),
            "learned": describe_frames(torch.stack(frames)).numpy(),
            "pixels": pixels,
            "mean": np.stack([each.numpy().mean(0) for each in frames]),
            "raw_frames": np.stack([each.ravel() for each in small]),
            "thumbnail_minus_first": np.stack([(each - each[:1]).ravel() for each in small]),
        }
        for kind, part in made.items():
            rows.setdefault(kind, []).append(part)
    return {kind: np.concatenate(parts) for kind, parts in rows.items()}


def words(embedder: Embedder, vectors: np.ndarray, labels: np.ndarray) -> dict:
    """recall@10 by name and by the wordings that nothing was taught, for categories taught and not."""
    report = {}
    names = list(dict.fromkeys(labels.tolist()))
    asked = {
        "name": [(name, name_in_words(name)) for name in names],
        "paraphrase": [(name, text) for name in names for text in wordings(name).held_out],
    }
    for kind, questions in asked.items():
        category = np.array([name for name, _ in questions])
        found = recall_at(embedder.embed_text([text for _, text in questions]), category, vectors, labels)
        report[kind] = {"questions": len(found), "recall_at_10": round(float(found.mean()), 4)}
        report[kind] |= {"interval": interval(found)}
        for part, categories in PARTS.items():
            if (rows := np.isin(category, list(categories))).any():
                report[kind][part] = round(float(found[rows].mean()), 4)
    return report


def corpus(folder: Path, kept: Path) -> tuple[np.ndarray, np.ndarray]:
    """Real clips of effects proper that have at least two: uint8 [n, 25, 96, 144, 3], and their folders."""
    if kept.exists():
        with np.load(kept) as held:
            return held["clips"], held["labels"]
    clips, labels = [], []
    for source in discover(folder, layout="folder"):
        label = Path(source.uri).parent.name
        if label.startswith(LOOSE):
            continue
        try:
            with Path(source.uri).open("rb") as file:
                facts = probe(file, DecodeLimits())
                (plan,) = plan_frames(facts.timestamps, SPEC, "uniform")
                planes = decode_clip(file, facts, plan.indices, SPEC, "crop")
                clips.append(np.stack([to_rgb(frame_of(each)) for each in planes]))
        except (Rejection, TooFewFrames):
            continue
        labels.append(label)
    counts = Counter(labels)
    held = [place for place, label in enumerate(labels) if counts[label] > 1]
    found = np.stack([clips[place] for place in held]), np.array([labels[place] for place in held])
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, clips=found[0], labels=found[1])
    return found


def _thumbnails(clip: np.ndarray, side: int = 12) -> np.ndarray:
    """fp32 [T, side, side, 3] in [-1, 1], area-averaged."""
    from PIL import Image

    frames = [Image.fromarray(frame).resize((side, side), Image.Resampling.BOX) for frame in clip]
    return np.stack([np.asarray(frame) for frame in frames]).astype(np.float32) / 127.5 - 1


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The options of whatever is asked of an embedder on renders and on the corpus."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pocket", help="`embed.model`")
    parser.add_argument("--pretrained", default="pocket", help="`embed.pretrained`")
    parser.add_argument("--categories", type=int, default=200)
    parser.add_argument("--clips", type=int, default=10, help="of each category")
    parser.add_argument("--processes", type=int, default=2, help="that render")
    parser.add_argument("--work", type=Path, default=Path("pocket-work"), help="renders are kept there")
    parser.add_argument("--corpus", default=os.environ.get("VIDEO2LORA_CORPUS"))
    return parser


if __name__ == "__main__":
    main()
