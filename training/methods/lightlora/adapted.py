"""A frozen DiT with LightLoRA adapters in it: what all methods share whose condition is an adapter θ."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from training.backbones.base import Checkpointing, DiT, Velocity
from training.batch import References, TrainingBatch
from training.methods.base import Loss
from training.methods.frozen import FrozenDiT
from training.methods.lightlora.blend import blended, reduced
from training.methods.lightlora.cost import residual_flops
from training.methods.lightlora.export import adapter_to_lora
from training.methods.lightlora.file import AdapterFile, fitted
from training.methods.lightlora.layers import Factors, LightLoRA
from training.methods.lightlora.settings import LightLoRASettings


class AdaptedDiT(FrozenDiT):
    """A method (`training.methods.base.Method`) but for where its adapters θ [B, L, r·(a+b)] come from.

    Args:
        dit: the backbone's; frozen here and adapted in place (its target linears are replaced).
        settings: what is adapted.

    Raises:
        BadMethodSettings: settings that do not fit the DiT.
    """

    settings: LightLoRASettings

    def __init__(self, dit: DiT, settings: LightLoRASettings) -> None:
        super().__init__(dit, settings)
        self.adapters = LightLoRA(
            dit.module,
            settings.targets,
            settings.down_size,
            settings.up_size,
            settings.rank,
            settings.scale,
            settings.share_qkv_down,
            dit.blocks_name,
        )

    @abstractmethod
    def condition(self, references: References) -> Tensor:
        """Adapters θ [B, L, r·(a+b)], one a reference: what a method is about."""

    def forward(self, batch: TrainingBatch) -> Loss:
        """The mean loss of the batch, each target denoised under the adapter of its own reference.

        The factors stay bound after this returns: activation checkpointing needs them in backward.
        """
        theta = self.condition(batch.references)
        self.adapters.bind(theta)
        loss = self.denoised(batch, self.dit.velocity)
        loss.metrics |= self.norms(theta)
        return loss

    def norms(self, theta: Tensor) -> dict[str, Tensor]:
        """Mean norms of adapters θ [B, L, r·(a+b)] and of their halves, detached."""
        theta = theta.detach().float()
        down, up = self.adapters.split(theta)
        return {
            "adapter_norm": theta.flatten(1).norm(dim=1).mean(),
            "adapter_up_norm": up.flatten(1).norm(dim=1).mean(),
            "adapter_down_norm": down.flatten(1).norm(dim=1).mean(),
        }

    @contextmanager
    def under(self, condition: Tensor | Factors | None) -> Iterator[Velocity]:
        """Denoise under adapters θ [B or 1, L, r·(a+b)] or one LoRA, for inference; None: frozen."""
        with self.adapters.bound(condition):
            yield self.dit.velocity

    def vector(self, condition: Tensor | Factors) -> Tensor | None:
        """θ [1, L, r·(a+b)] as one row of numbers; a LoRA is none."""
        return None if isinstance(condition, Factors) else condition.detach().flatten().float().cpu()

    def export(self, condition: Tensor | Factors) -> dict[str, Tensor]:
        """The LoRA of θ [1, L, r·(a+b)]; see `adapter_to_lora`."""
        return adapter_to_lora(self.adapters, condition)

    def blend(self, conditions: Sequence[Tensor | Factors], weights: Sequence[float]) -> Tensor | Factors:
        """The adapter whose residual is the weighted sum of theirs; see `blended`."""
        return blended(self.adapters, conditions, weights)

    def reduce(self, condition: Tensor | Factors) -> tuple[Tensor | Factors, float]:
        """The nearest adapter of the size that this model predicts; see `reduced`. A LoRA stays as it is."""
        if isinstance(condition, Factors):
            return condition, 1.0
        return reduced(self.adapters, condition, self.settings.rank)

    def load(self, file: AdapterFile) -> Tensor | Factors:
        """What is in an adapter's file; see `fitted`."""
        return fitted(self.adapters, file)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The auxiliary matrices; a method adds its own part."""
        return {"auxiliary": self.adapters.parameters()}

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of the frozen DiT and the residuals, of one sample."""
        settings, linears = self.settings, [layer.base for layer in self.adapters.layers.values()]
        return self.dit.flops(latent_shape, checkpointing) + residual_flops(
            [(linear.in_features, linear.out_features) for linear in linears],
            self.dit.tokens(latent_shape),
            settings.rank,
            settings.down_size,
            settings.up_size,
        )

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values of one sample that the frozen DiT keeps: the residuals keep nothing that it does not."""
        return self.dit.kept_values(latent_shape, checkpointing)
