"""Whether everything that a run loads can be had, asked before its first input is read."""

from pipeline.embedding.settings import EmbedSettings
from pipeline.errors import PipelineError
from training.backbones.settings import BackboneSettings
from training.errors import TrainingError


class WeightsMissing(PipelineError):
    """Weights that a run needs are not to be had; the message says of each what to fetch."""


def require_start(backbone: BackboneSettings, start_from: str | None, method: str) -> None:
    """Find what a training worker loads.

    Raises:
        TrainingError: the transformer, or the trained model that the run begins with, is not there.
    """
    from training.backbones.registry import locate_backbone
    from training.release import find_start

    locate_backbone(backbone, ("transformer",))
    if start_from:
        find_start(start_from, method)


def require_weights(
    backbone: BackboneSettings, embed: EmbedSettings, start_from: str | None, method: str
) -> None:
    """Find all weights of a run: made, on this machine, or fetched now.

    Args:
        start_from: the trained model that it begins with, None for random weights.
        method: kind of method that it trains.

    Raises:
        WeightsMissing: some cannot be had; all of them are named at once.
    """
    # Seconds to import, and only a run needs them.
    from pipeline.embedding.clip_weights import find_clip
    from training.backbones.registry import locate_backbone
    from training.release import find_start

    missing = []
    for find in (
        lambda: locate_backbone(backbone),
        lambda: find_clip(embed.model, embed.pretrained),
        lambda: start_from and find_start(start_from, method),
    ):
        try:
            find()
        except (PipelineError, TrainingError) as error:
            missing.append(str(error))
    if missing:
        raise WeightsMissing(" ".join(missing))
