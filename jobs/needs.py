"""What each command needs of every machine of the cluster that it joins, asked before its work begins."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.console import opening

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.workspace import Workspace

# Their workers meet in the run's folder.
_TRAIN = ("train", "run", "retrain")


def require_cluster(command: str, workspace: "Workspace", reads: str | None = None) -> None:
    """Look at every machine of the cluster.

    Args:
        reads: where the command's inputs lie; only a path on a file system is looked for.

    Raises:
        NodeUnfit: one lacks something, and what.
    """
    from pipeline.workers.nodes import NodeNeeds, require_nodes

    opening("Looking at the cluster's machines")
    place = None if reads is None or "://" in reads else Path(reads.partition("*")[0] or ".").expanduser()
    if reads is not None and place is not None and "*" in reads and not place.is_dir():
        place = place.parent
    require_nodes(
        NodeNeeds(
            workspace.root if command in _TRAIN and workspace.runs_uri is None else None,
            place and place.resolve(),
            workspace.catalog,
            _weights(command, workspace),
        )
    )


def _weights(command: str, workspace: "Workspace") -> "Callable[[], object] | None":
    """What finds the weights that the command's workers will load, or says what is missing."""
    from pipeline.embedding.clip_weights import find_clip
    from pipeline.weights import require_weights
    from training.backbones.registry import locate_backbone

    profile = workspace.profile
    match command:
        case "embed":
            return partial(find_clip, profile.embed.model, profile.embed.pretrained)
        case "encode":
            return partial(locate_backbone, profile.backbone, ("vae", "text"))
        case "train" | "retrain":
            return partial(locate_backbone, profile.backbone, ("transformer",))
        case "run":
            train = profile.train
            return partial(
                require_weights, profile.backbone, profile.embed, train.start_from, profile.method.kind
            )
        case _:
            return None
