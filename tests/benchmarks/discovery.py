"""Are categories found again, and new ones discovered, by what `cluster` does?

`python -m tests.benchmarks.discovery`: renders of many categories, half of them old, whose clips are labelled
to one half; the others are new to the catalogue, and to the pocket CLIP as far as it was taught too few. The
unlabelled clips are assigned to old categories or proposed as new ones by the functions of `cluster`, which
nobody tells how many there are. Accuracy over all, old and new clips is that of one assignment of found to
true categories over all of them (Hungarian); a clip without a category counts as wrong. With
VIDEO2LORA_CORPUS: no labels at all, NMI, and the share that finds no category. Prints one JSON object as its
last line.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from pipeline.curation.membership import (
    Clip,
    ClusterSettings,
    by_cluster,
    by_label_or_person,
    by_nearest,
    by_prototype,
    nearness,
    prototypes,
    thresholds,
)
from pipeline.embedding.change import FRAMES
from pipeline.embedding.embedder import Embedder
from pipeline.embedding.settings import EmbedSettings
from pipeline.pocket.clip_renders import MEASURED_ON, render_categories
from pipeline.samples.splits import UNSEEN
from tests.benchmarks.retrieval import CORPUS, chosen, corpus, parser_of


def main(arguments: list[str] | None = None) -> dict:
    options = _options(arguments)
    embedder = Embedder(EmbedSettings(model=options.model, pretrained=options.pretrained))
    names = chosen(options.categories)
    clips, _ = render_categories(
        names,
        options.clips,
        MEASURED_ON,
        options.work / "measured",
        options.processes,
        frames=FRAMES,
    )
    truth = np.repeat(np.array(names), options.clips)
    vectors = embedder.embed_clips(list(clips.reshape(-1, *clips.shape[2:])))
    new = np.isin(truth, list(UNSEEN)) if set(names) & UNSEEN else np.isin(truth, names[len(names) // 2 :])
    labelled = ~new & (np.arange(len(truth)) % options.clips < options.clips // 2)
    settings = ClusterSettings(min_cluster_size=options.smallest)
    report: dict = {"embedder": embedder.embedder_id, "categories": len(names), "clips": len(truth)}
    found, limits = sort_in(vectors, np.where(labelled, truth, None), settings)
    asked = ~labelled
    report |= accuracy(truth[asked], found[asked], new[asked])
    measured = [limit for limit in limits.values() if limit.precision is not None]
    report["thresholds"] = {
        "categories": len(measured),
        "precision": round(float(np.mean([limit.precision for limit in measured] or [0])), 3),
        "recall": round(float(np.mean([limit.recall for limit in measured] or [0])), 3),
    }
    if options.corpus:
        real, labels = corpus(Path(options.corpus) / "effects", options.work / CORPUS)
        found, _ = sort_in(embedder.embed_clips(list(real)), np.full(len(real), None), settings)
        alone = found == ""
        single = np.where(alone, np.char.add("alone-", np.arange(len(found)).astype(str)), found)
        report["corpus"] = {
            "clips": len(labels),
            "categories": len(np.unique(labels)),
            "proposed": len(np.unique(found[~alone])),
            "unassigned": round(float(alone.mean()), 4),
            "NMI": round(float(normalized_mutual_info_score(labels, found)), 4),
            "NMI_unassigned_apart": round(float(normalized_mutual_info_score(labels, single)), 4),
            "ARI": round(float(adjusted_rand_score(labels, found)), 4),
        }
    print(json.dumps(report))
    return report


def sort_in(vectors: np.ndarray, labels: np.ndarray, settings: ClusterSettings):
    """The category of every clip ("" for none) as `cluster` decides it, and the thresholds."""
    before = {"category_id": None, "category_source": None, "category_confidence": None, "split": None}
    clips = [
        Clip(f"{place:06d}", f"{place:06d}", label, vector.astype(np.float64), before)
        for place, (label, vector) in enumerate(zip(labels.tolist(), vectors, strict=True))
    ]
    by_label_or_person(clips, {})
    limits = thresholds(clips, settings)
    founded = prototypes(clips)
    by_prototype(clips, founded, limits)
    proposals = by_cluster(clips, {}, settings, nearness(limits, settings))
    by_nearest(clips, founded, limits, proposals, settings)
    return np.array([clip.category_id or "" for clip in clips]), limits


def accuracy(truth: np.ndarray, found: np.ndarray, new: np.ndarray) -> dict:
    """Share of clips whose found category is the one matched to their true category; "" matches none."""
    true_names, true_at = np.unique(truth, return_inverse=True)
    found_names, found_at = np.unique(found, return_inverse=True)
    table = np.zeros((len(found_names), len(true_names)), int)
    np.add.at(table, (found_at, true_at), 1)
    table[found_names == ""] = 0
    rows, columns = linear_sum_assignment(-table)
    matched = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    right = np.array([matched.get(f) == t for f, t in zip(found_at, true_at, strict=True)]) & (found != "")
    return {
        "accuracy": {
            "all": round(float(right.mean()), 4),
            "old": round(float(right[~new].mean()), 4),
            "new": round(float(right[new].mean()), 4),
        },
        "unassigned": round(float((found == "").mean()), 4),
        "found": int((found_names != "").sum()),
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--smallest", type=int, default=ClusterSettings().min_cluster_size, help="`cluster.min_cluster_size`"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
