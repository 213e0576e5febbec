"""What a LoRA on all linears of Wan's blocks costs beside the frozen transformer."""

from collections.abc import Sequence
from typing import NamedTuple

from training.backbones.base import Checkpointing


class Linear(NamedTuple):
    """An adapted linear: its path inside the block, and its widths."""

    name: str
    wide_in: int
    wide_out: int

    @property
    def of_text(self) -> bool:
        """Whether it makes keys or values of the text."""
        return self.name in ("attn2.to_k", "attn2.to_v")

    @property
    def first(self) -> bool:
        """Whether it reads what the block begins with."""
        return self.name in ("attn1.to_q", "attn1.to_k", "attn1.to_v")


def extra_flops(
    linears: Sequence[Linear], blocks: int, video: int, text: int, rank: int, checkpointing: Checkpointing
) -> float:
    """Operations of one sample's training step beyond those of the frozen transformer with adapters inside.

    Forward, backward and recomputation of the residuals; and of the text's keys and values, which carry a
    residual here, the gradient of their attention.

    Args:
        linears: of one block.
        video, text: tokens of each.
    """
    width = max(linear.wide_out for linear in linears if linear.of_text)
    again = _recomputed(blocks, checkpointing)
    total = 0.0
    for linear in linears:
        tokens = text if linear.of_text else video
        into, out = 2 * tokens * rank * linear.wide_in, 2 * tokens * rank * linear.wide_out
        # No gradient goes to the text, nor to what the first block reads.
        onward = 0 if linear.of_text else blocks - linear.first
        total += (blocks + again) * (into + out) + blocks * (2 * out + into) + onward * into
    return total + blocks * 4 * video * text * width


def extra_kept_values(
    linears: Sequence[Linear], blocks: int, video: int, text: int, rank: int, checkpointing: Checkpointing
) -> int:
    """Values that the residuals keep for backward: the inputs of the linears, each once, and `down x`."""
    inputs = {"qkv": 0, "text": 0}
    for linear in linears:
        tokens = text if linear.of_text else video
        place = "text" if linear.of_text else "qkv" if linear.first else linear.name
        inputs[place] = tokens * linear.wide_in
    inner = sum(rank * (text if linear.of_text else video) for linear in linears)
    per_block = sum(inputs.values()) + inner
    again = _recomputed(blocks, checkpointing)
    return per_block * (blocks - again + (1 if again else 0))


def _recomputed(blocks: int, checkpointing: Checkpointing) -> int:
    if checkpointing == "none":
        return 0
    return blocks if checkpointing == "full" else -(-blocks // checkpointing)
