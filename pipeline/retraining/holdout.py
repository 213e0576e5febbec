"""The holdout: frozen pairs of clips that never train, on which champion and challenger are compared.

What is frozen are the pairs and the catalogue they are of. What must not be looked at any more is left out
for both models: pairs of clips that were withdrawn since, or that one trained on because somebody moved them.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from catalog.fate import LICENCE_WITHDRAWN
from catalog.models import model_folder
from catalog.names import CategoryNames
from catalog.snapshot import Snapshot
from catalog.store import Catalog
from pipeline.errors import PipelineError
from pipeline.pairing.held_out import HeldOutPair, HeldOutStream, choose_held_out
from pipeline.pairing.plan import PairSettings
from pipeline.pairing.stream import PairStream
from pipeline.retraining.gate import Losses
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.evaluation.transfer_gap import PairLosses
from training.evaluation.while_training import EvaluateTransfer
from training.release import Release, load_release, method_settings, read_release


class NothingHeldOut(PipelineError):
    """No clip is held out that a challenger could be judged by."""


@dataclass(frozen=True)
class Holdout:
    """A row of `holdouts`, its pairs read."""

    name: str
    snapshot: Snapshot
    encoder_id: str
    pairs: tuple[HeldOutPair, ...]


def newest_holdout(catalog: Catalog, encoder_id: str) -> Holdout | None:
    """The one that counts now: the last that was frozen of an encoder's features."""
    rows = [row for row in catalog.scan("holdouts").to_pylist() if row["encoder_id"] == encoder_id]
    return _holdout(max(rows, key=lambda row: row["created_at"])) if rows else None


def freeze(catalog: Catalog, encoder_id: str, settings: PairSettings, count: int, author: str) -> Holdout:
    """Choose held-out pairs of the catalogue as it is now, and keep them for ever.

    Args:
        count: pairs of seen and of unseen categories, at most so many each.

    Raises:
        NothingHeldOut: no clip is held out, or the same pairs are frozen already.
    """
    snapshot = catalog.snapshot()
    stream = PairStream(catalog.at(snapshot), encoder_id, settings)
    pairs = choose_held_out(stream.clips, settings, count)
    if not pairs:
        raise NothingHeldOut(
            "No clip with features is held out, so nothing could judge a challenger. `video2lora cluster"
            " --set cluster.val_fraction=0.2` holds clips out, `category hold-out NAME` whole categories."
        )
    while True:
        every = catalog.scan("holdouts").to_pylist()
        same = [row["name"] for row in every if _holdout(row).pairs == pairs]
        if same:
            raise NothingHeldOut(
                f"{same[0]} holds the same pairs already: under another name they prove nothing more. Hold"
                " other clips out first (`video2lora clip split val`, `video2lora category hold-out`)."
            )
        row = {
            "name": f"holdout-{len(every) + 1}",
            "snapshot": snapshot.to_json(),
            "encoder_id": encoder_id,
            "pairs": [asdict(pair) for pair in pairs],
            "author": author,
            "created_at": datetime.now(UTC),
        }
        if catalog.add("holdouts", [row]):
            return Holdout(row["name"], snapshot, encoder_id, pairs)


def still_fair(
    holdout: Holdout, catalog: Catalog, trained: set[str]
) -> tuple[tuple[HeldOutPair, ...], list[str]]:
    """The pairs that may still be looked at, and a sentence about each kind that may not.

    Args:
        trained: clips that one of the models trained on.
    """
    clips = {clip for pair in holdout.pairs for clip in (pair.target_id, pair.same_id, pair.other_id)}
    rows = catalog.get("clips", sorted(clips), ["clip_id", "reason_code"]).to_pylist()
    withdrawn = {row["clip_id"] for row in rows if row["reason_code"] == LICENCE_WITHDRAWN}
    fair, lost, leaked = [], 0, 0
    for pair in holdout.pairs:
        if withdrawn.intersection((pair.target_id, pair.same_id, pair.other_id)):
            lost += 1
        elif pair.target_id in trained:
            leaked += 1
        else:
            fair.append(pair)
    said = [
        f"{count} of {len(holdout.pairs)} pairs of {holdout.name} are left out: {why}"
        for count, why in (
            (lost, "clips of them were withdrawn"),
            (leaked, "their targets have trained since"),
        )
        if count
    ]
    if not fair:
        raise NothingHeldOut(f"{'; '.join(said)}. Freeze another one: `video2lora retrain --new-holdout`.")
    return tuple(fair), said


def compare(
    catalog: Catalog,
    holdout: Holdout,
    pairs: Sequence[HeldOutPair],
    champion: Release,
    challenger: Release,
    backbone: BackboneSettings,
    settings: PairSettings,
    draws: int,
    batch_size: int,
) -> tuple[Losses, dict[str, PairLosses]]:
    """What both models lose on the same pairs with the same noise, each in a Ray task of its own.

    Args:
        settings: of pairing, for how features are read.

    Returns:
        What the gate takes, and all losses of each model by its id.
    """
    import ray

    gpus = 1 if ray.cluster_resources().get("GPU", 0) > 0 else 0
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=2)(measure)
    view = catalog.at(holdout.snapshot)
    asked = [
        task.remote(
            str(release.path.resolve()),
            HeldOutStream(
                PairStream(
                    view,
                    holdout.encoder_id,
                    settings,
                    needs=method_settings(release).needs,
                    references=method_settings(release).references_per_target,
                ),
                tuple(pairs),
            ),
            backbone,
            draws,
            batch_size,
        )
        for release in (champion, challenger)
    ]
    found = ray.get(asked)
    names = CategoryNames.load(view)
    losses = Losses(
        np.asarray(found[0].same),
        np.asarray(found[1].same),
        tuple(names.name_of(pair.category) or pair.category for pair in pairs),
        tuple(pair.group for pair in pairs),
        tuple(f"{pair.target_id}<-{pair.same_id}" for pair in pairs),
    )
    return losses, {champion.model_id: found[0], challenger.model_id: found[1]}


def measure(
    folder: str, pairs: HeldOutStream, backbone: BackboneSettings, draws: int, batch_size: int
) -> PairLosses:
    """The losses of one model, in the pairs' order: the same noise for every model."""
    import torch

    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_backbone(backbone, ["transformer"], device=device)
    here = Path(folder)
    if not here.is_dir():  # another machine than the one that trained, which shares no disk with it
        here = model_folder(pairs.stream.catalog, f"models/{here.name}", here.parent)
    method = load_release(read_release(here), loaded).to(device)
    losses = EvaluateTransfer(pairs, batch_size, draws).measure(method)
    order = np.argsort([int(name) for name in losses.pair_ids])
    ids = tuple(losses.pair_ids[n] for n in order)
    return PairLosses(ids, losses.same[order], losses.other[order], losses.none[order])


def _holdout(row: dict) -> Holdout:
    pairs = tuple(HeldOutPair(**pair) for pair in json.loads(row["pairs"]))
    return Holdout(row["name"], Snapshot.from_json(row["snapshot"]), row["encoder_id"], pairs)
