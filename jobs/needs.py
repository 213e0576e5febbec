"""What each command needs of every machine of the cluster that it joins, asked before its work begins."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.console import opening

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.workspace import Workspace

# Their workers meet in the working directory: in a run's folder, which may have a bucket instead; in what an
# evaluation has made, in an edit's state.
_TRAIN = ("train", "run", "retrain")
_MEET = ("evaluate", "edit")


def require_cluster(
    command: str, workspace: "Workspace", reads: Sequence[str] = (), writes: Sequence[Path] = ()
) -> None:
    """Look at every machine of the cluster.

    Args:
        reads: where the command's inputs lie; only paths on a file system are looked for.
        writes: folders that its workers write to beside the catalogue.

    Raises:
        NodeUnfit: one lacks something, and what.
    """
    from pipeline.workers.nodes import NodeNeeds, require_nodes

    opening("Looking at the cluster's machines")
    meet = command in _MEET or (command in _TRAIN and workspace.runs_uri is None)
    shared = [workspace.root] if meet else []
    require_nodes(
        NodeNeeds(
            tuple(dict.fromkeys([*shared, *writes])),
            tuple(_place(each) for each in dict.fromkeys(reads) if "://" not in each),
            workspace.catalog,
            _weights(command, workspace),
        )
    )


def _place(named: str) -> Path:
    """The path, or of a pattern the folder that it begins in."""
    place = Path(named.partition("*")[0] or ".").expanduser()
    return (place.parent if "*" in named and not place.is_dir() else place).resolve()


def _weights(command: str, workspace: "Workspace") -> "Callable[[], object] | None":
    """What finds the weights that the command's workers will load, or says what is missing."""
    from pipeline.embedding.clip_weights import find_clip
    from pipeline.weights import require_start, require_weights
    from training.backbones.registry import locate_backbone

    profile = workspace.profile
    match command:
        case "embed":
            return partial(find_clip, profile.embed.model, profile.embed.pretrained)
        case "encode":
            return partial(locate_backbone, profile.backbone, ("vae", "text"))
        case "train" | "retrain":
            start = profile.train.start_from
            return partial(require_start, profile.backbone, start, profile.method.kind)
        case "adapter":
            return partial(locate_backbone, profile.backbone, ("vae", "transformer"))
        case "batch" | "evaluate" | "edit":
            return partial(locate_backbone, profile.backbone)
        case "run":
            train = profile.train
            return partial(
                require_weights, profile.backbone, profile.embed, train.start_from, profile.method.kind
            )
        case _:
            return None
