"""Video2LoRA (2603.08210): a hypernetwork turns a reference video into a LightLoRA for a frozen video DiT."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.backbones.base import Checkpointing, DiT
from training.batch import References
from training.methods.lightlora.adapted import AdaptedDiT
from training.methods.video2lora import cost
from training.methods.video2lora.hypernetwork import HyperNetwork
from training.methods.video2lora.settings import Video2LoRASettings
from training.randomness import initial_values


class Video2LoRA(AdaptedDiT):
    """Everything that trains, and the frozen DiT, in one module whose forward is the loss.

    Args:
        dit: the backbone's; frozen here and adapted in place (its target linears are replaced).
        settings: what is adapted and how it is predicted.
        seed: of the initial values; no global generator is read or moved.

    Raises:
        BadMethodSettings: settings that do not fit the DiT.
    """

    settings: Video2LoRASettings

    def __init__(self, dit: DiT, settings: Video2LoRASettings, seed: int = 0) -> None:
        with initial_values(seed):
            super().__init__(dit, settings)
            hypernetwork = HyperNetwork(
                channels=dit.latent_channels,
                layers=len(self.adapters),
                down_values=settings.rank * settings.down_size,
                up_values=settings.rank * settings.up_size,
                width=settings.width,
                heads=settings.heads,
                blocks=settings.layers,
                refinements=settings.refinements,
                patch=settings.patch,
                positions=settings.positions,
                identity_start=settings.identity_start,
                motion=settings.motion,
                video_blocks=settings.video_layers,
            )
        self.hypernetwork = hypernetwork.to(self.adapters.device)

    def condition(self, references: References) -> Tensor:
        """Predicted adapters θ [B, L, r·(a+b)], one a reference."""
        return self.hypernetwork(references.latents, references.mask)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The hypernetwork and the auxiliary matrices."""
        return {"hypernetwork": list(self.hypernetwork.parameters())} | super().parameter_groups()

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of the frozen DiT, the residuals and the hypernetwork, of one sample."""
        predicting = cost.hypernetwork_flops(self.settings, len(self.adapters), latent_shape)
        return super().flops(latent_shape, checkpointing) + predicting

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values that the frozen DiT and the hypernetwork keep of one sample."""
        on_cpu = self.adapters.device.type == "cpu"
        predicting = cost.hypernetwork_kept_values(
            self.settings, len(self.adapters), latent_shape, scores=on_cpu
        )
        return super().kept_values(latent_shape, checkpointing) + predicting
