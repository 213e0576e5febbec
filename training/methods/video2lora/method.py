"""Video2LoRA (2603.08210): a hypernetwork turns a reference video into a LightLoRA for a frozen video DiT."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from training.backbones.base import Checkpointing, DiT
from training.batch import References, TrainingBatch
from training.errors import BadBatch, StateMismatch
from training.methods.base import Loss, dtype_of
from training.methods.lightlora.adapted import AdaptedDiT
from training.methods.lightlora.layers import auxiliary_of
from training.methods.own_loss import OwnClips, own_losses
from training.methods.video2lora import cost
from training.methods.video2lora.hypernetwork import GradientOf, HyperNetwork
from training.methods.video2lora.settings import Video2LoRASettings
from training.methods.video2lora.weights_lesson import unexplained
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
        # Of a teacher's adapters, where it learns from one.
        self.spread: float | None = None

    def condition(self, references: References) -> Tensor:
        """Predicted adapters θ [B, L, r·(a+b)], one a reference."""
        seen = references.latents, references.mask
        slope = self._own_gradient(*seen) if self.settings.gradient_refinement else None
        return self.hypernetwork(*seen, slope)

    def forward(self, batch: TrainingBatch) -> Loss:
        """The diffusion loss on the targets or, with a teacher, how far predictions are from its adapters."""
        if self.spread is None:
            return super().forward(batch)
        theta = self.condition(batch.references)
        loss = self.distance(theta, batch.references, self.spread)
        return Loss(loss, {"loss": loss.detach(), **self.norms(theta)})

    def distance(self, theta: Tensor, references: References, spread: float | Tensor) -> Tensor:
        """How far predictions θ [B, L, r·(a+b)] are from what a teacher found for the references; see
        `unexplained`.

        Raises:
            BadBatch: the references come without adapters, or with those of another model.
        """
        wanted = references.adapters
        if wanted is None or wanted[0].numel() != theta[0].numel():
            told = "none" if wanted is None else f"{wanted[0].numel()} values each"
            raise BadBatch(
                f"Adapters of {theta[0].numel()} values are predicted, and the references come with {told}:"
                " let a model of the same method.down_size, up_size, rank and targets teach."
            )
        return unexplained(theta, wanted.reshape(theta.shape), spread)

    def learn_from(self, auxiliary: Mapping[str, Tensor] | None, spread: float) -> None:
        """Learn to predict a teacher's adapters, under its auxiliary matrices, which no longer train.

        Raises:
            StateMismatch: those are another model's; nothing was copied.
        """
        own = auxiliary_of(dict(self.named_parameters()))
        if auxiliary is not None and {name: value.shape for name, value in own.items()} != {
            name: value.shape for name, value in auxiliary.items()
        }:
            raise StateMismatch(
                "The teacher's auxiliary matrices are those of other linears or sizes: set the same"
                " method.down_size, method.up_size and method.targets."
            )
        for name, value in own.items():
            if auxiliary is not None:
                value.data.copy_(auxiliary[name])
            value.requires_grad_(False)
        self.spread = spread

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
        """The hypernetwork and, without a teacher, the auxiliary matrices."""
        own = {"hypernetwork": list(self.hypernetwork.parameters())}
        return own if self.spread is not None else own | super().parameter_groups()

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of one sample: of the hypernetwork, of the frozen DiT and the residuals where those take
        part."""
        predicting = cost.hypernetwork_flops(self.settings, len(self.adapters), latent_shape)
        passes = int(self.spread is None)
        if self.settings.gradient_refinement:
            passes += self.settings.refinements * self.settings.gradient_draws
        return passes * super().flops(latent_shape, checkpointing) + predicting

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values that the frozen DiT and the hypernetwork keep of one sample."""
        on_cpu = self.adapters.device.type == "cpu"
        predicting = cost.hypernetwork_kept_values(
            self.settings, len(self.adapters), latent_shape, scores=on_cpu
        )
        # One pass's of the DiT, however many there are: each is over before the next.
        denoising = self.spread is None or self.settings.gradient_refinement
        return predicting + (super().kept_values(latent_shape, checkpointing) if denoising else 0)
