"""Video2LoRA (2603.08210): a hypernetwork turns a reference video into a LightLoRA for a frozen video DiT."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.backbones.base import Checkpointing, DiT
from training.batch import References
from training.methods.base import dtype_of
from training.methods.lightlora.adapted import AdaptedDiT
from training.methods.own_loss import OwnClips, own_losses
from training.methods.video2lora import cost
from training.methods.video2lora.hypernetwork import GradientOf, HyperNetwork
from training.methods.video2lora.settings import Video2LoRASettings
from training.randomness import derive, initial_values, normal


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
                gradient=settings.gradient_refinement,
            )
        self.hypernetwork = hypernetwork.to(self.adapters.device)

    def condition(self, references: References) -> Tensor:
        """Predicted adapters θ [B, L, r·(a+b)], one a reference."""
        seen = references.latents, references.mask
        slope = self._own_gradient(*seen) if self.settings.gradient_refinement else None
        return self.hypernetwork(*seen, slope)

    def _own_gradient(self, latents: Tensor, mask: Tensor) -> GradientOf:
        """How the references' own diffusion loss changes with their adapters, by the frozen DiT.

        Nothing of a reference is there but its latents: its first latent frame stands for its first frame,
        zeros for its caption. Noises and timesteps are the same for every reference, so that a prediction is
        a function of it. First order: the gradient itself has none.
        """
        dit, count = self.dit, len(latents)
        # What padding holds never enters, whatever it is.
        latents = latents.to(dtype_of(self)).masked_fill(~mask[:, :, None], 0)
        texts = latents.new_zeros(count, *dit.text_shape)
        clips = OwnClips(latents, mask, dit.first_frame_of(latents), texts)

        def gradient_of(theta: Tensor, iteration: int) -> Tensor:
            probe = theta.detach().float().requires_grad_()
            slope = torch.zeros_like(probe)
            for draw in range(self.settings.gradient_draws):
                seed = derive(iteration * self.settings.gradient_draws + draw, "gradient of a reference")
                seeds = torch.full((count,), seed)
                noise = normal(seed, "noise", latents.shape[1:]).expand(latents.shape)
                # Backward inside: checkpointed blocks run again there and must find these adapters.
                with torch.enable_grad(), self.adapters.bound(probe):
                    losses = own_losses(dit.velocity, dit, clips, seeds, self.settings.timestep_shift, noise)
                    slope += torch.autograd.grad(losses.sum(), probe)[0]
            return slope / self.settings.gradient_draws

        return gradient_of

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The hypernetwork and the auxiliary matrices."""
        return {"hypernetwork": list(self.hypernetwork.parameters())} | super().parameter_groups()

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of the frozen DiT, the residuals and the hypernetwork, of one sample."""
        predicting = cost.hypernetwork_flops(self.settings, len(self.adapters), latent_shape)
        passes = 1
        if self.settings.gradient_refinement:
            passes += self.settings.refinements * self.settings.gradient_draws
        return passes * super().flops(latent_shape, checkpointing) + predicting

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values that the frozen DiT and the hypernetwork keep of one sample."""
        on_cpu = self.adapters.device.type == "cpu"
        predicting = cost.hypernetwork_kept_values(
            self.settings, len(self.adapters), latent_shape, scores=on_cpu
        )
        return super().kept_values(latent_shape, checkpointing) + predicting
