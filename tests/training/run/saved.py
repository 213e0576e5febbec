"""Checkpoints for tests: of whole tensors, and of an engine's state."""

from pathlib import Path

from torch import Tensor

from training.run.checkpoint import Checkpoint, Shard, read_checkpoint
from training.run.checkpoint_writer import Facts, write_checkpoint


def whole(step: int, **kinds: dict[str, Tensor]) -> Shard:
    """The shard of a worker that is alone; kinds are master, exp_avg, exp_avg_sq and ema."""
    values = {
        f"{kind}/{name}": t.reshape(-1) for kind, tensors in kinds.items() for name, t in tensors.items()
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in kinds["master"].items()}
    return Shard(step, shapes, dict.fromkeys(shapes, 0), values)


def saved(shard: Shard, folder: Path) -> Checkpoint:
    """Written to disk and read back."""
    return read_checkpoint(write_checkpoint(folder, shard, Facts(samples=shard.step)))


def everything(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """ "<kind>/<name>" → every tensor of a checkpoint."""
    return {
        f"{kind}/{name}": tensor
        for kind in sorted(checkpoint.kinds)
        for name, tensor in checkpoint.tensors(kind).items()
    }
