"""What the fit of one video needs, from configurations alone: of a whole video and of windows of it."""

from training.methods.base import Method
from training.planning.memory import POLICIES, MemoryPlan, gigabytes, plan_memory
from training.run.settings import TrainSettings

# One device, one sample, bf16 beside fp32 masters: as the fit runs on a GPU.
_ALONE = TrainSettings(batch_size=1, workers=1, precision="bf16", ema_decay=None)


def plan_fit(method: Method, latent_shape: tuple[int, int, int, int], policy: str | int) -> MemoryPlan:
    """Bytes that a step of the fit needs; latent_shape is [F, C, h, w] of what it is fitted on at once."""
    return plan_memory(method, latent_shape, _ALONE, 0, policy)


def fit_table(method: Method, shapes: dict[str, tuple[int, int, int, int]]) -> list[str]:
    """Memory as lines of text: a row per checkpointing policy, a column per name in `shapes`."""
    lines = ["checkpointing" + "".join(f"{name:>24}" for name in shapes)]
    for policy in POLICIES:
        cells = "".join(f"{gigabytes(plan_fit(method, s, policy).total):>24}" for s in shapes.values())
        name = policy if isinstance(policy, str) else f"every {policy}"
        lines.append(f"{name:<13}{cells}")
    values = sum(parameter.numel() for parameter in method.trainable_parameters())
    lines.append(
        f"the LoRA: {values / 1e6:.1f} M values, {2 * values / 1e6:.0f} MB in bf16; text encoder, VAE and"
        " CLIP are loaded beside it and not counted"
    )
    return lines
