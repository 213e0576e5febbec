"""The classifier that effect accuracy asks: trained on the catalogue's own clips, or one that was saved."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.store import Catalog
from pipeline.evaluation.settings import EvaluateSettings
from pipeline.evaluation.store import EvaluationStore
from pipeline.stored import read_stored
from pipeline.workers.actors import map_keys
from training.evaluation.seen_frames import FRAMES, HEIGHT, WIDTH
from training.evaluation.weights import Unavailable, find_weights
from training.progress import Progress

# One clip does not say what of it is the effect.
FEWEST = 2
SHAPE = (3, FRAMES, HEIGHT, WIDTH)


class ShowClips:
    """Actor: table (key: clip id) in, table (key, seen uint8 [3, 17, 32, 48] as bytes, or null) out."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __call__(self, batch: pa.Table) -> pa.Table:
        from training.evaluation.effect import to_classifier

        keys, seen = batch["key"].to_pylist(), []
        for _, frames, _ in read_stored(self.catalog, keys):
            small = None if frames is None else ((to_classifier(frames).numpy() + 1) * 127.5).round()
            seen.append(None if small is None else small.astype(np.uint8).tobytes())
        return pa.table({"key": keys, "seen": pa.array(seen, pa.binary())})


def find_classifier(settings: EvaluateSettings) -> Path | None:
    """The saved one that the settings name.

    Raises:
        BadWeights: it is no classifier of effects.
    """
    if settings.effect_classifier is None:
        return None
    from training.evaluation.effect import EffectClassifier

    file = find_weights(settings.effect_classifier, "evaluate.effect_classifier", "a classifier of effects")
    EffectClassifier.load(file)
    return file


def judge_file(store: EvaluationStore, teachers: dict[str, str], settings: EvaluateSettings) -> Path:
    """Where the classifier that these clips teach lies, or will lie: the same clips, the same file.

    Args:
        teachers: category by clip id; categories of a single clip are not learned.

    Raises:
        Unavailable: fewer than two categories have clips enough.
    """
    taught = _taught(teachers)
    if (count := len(set(taught.values()))) < 2:
        raise Unavailable(
            f"a classifier of effects needs two categories with {FEWEST} clips each that are not generated"
            f" for, and there {'is 1' if count == 1 else 'are none'}"
        )
    whole = json.dumps([sorted(taught.items()), settings.effect_epochs, settings.seed])
    return store.classifier(hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:16])


def train_judge(
    catalog: Catalog,
    file: Path,
    teachers: dict[str, str],
    settings: EvaluateSettings,
    progress: Progress | None = None,
) -> None:
    """Teach a classifier these clips' categories, and write it; see `judge_file`."""
    import torch

    from training.evaluation.effect import EffectClassifier, train_classifier

    taught = _taught(teachers)
    names = sorted(set(taught.values()))
    shown = []
    for table in map_keys(
        sorted(taught),
        ShowClips,
        {"catalog": catalog},
        batch_size=8,
        actors=settings.actors,
        cpus=settings.cpus_per_actor,
        setting="evaluate",
    ):
        shown += [(row["key"], row["seen"]) for row in table.to_pylist() if row["seen"] is not None]
    shown.sort()  # workers answer in any order, and a seed draws by place
    labels = torch.tensor([names.index(taught[clip]) for clip, _ in shown])
    pixels = torch.from_numpy(np.stack([np.frombuffer(seen, np.uint8).reshape(SHAPE) for _, seen in shown]))
    net = train_classifier(
        (pixels, labels),
        len(names),
        settings.effect_epochs,
        batch=min(32, len(labels)),
        seed=settings.seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
        progress=lambda done, total: progress(done, total, {}) if progress else None,
    )
    EffectClassifier(net.cpu(), tuple(names)).save(file)


def _taught(teachers: dict[str, str]) -> dict[str, str]:
    sizes = Counter(teachers.values())
    return {clip: category for clip, category in teachers.items() if sizes[category] >= FEWEST}
