"""Video-As-Prompt (2510.20888): experts carry clean references beside a frozen DiT, which attends to them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from training.backbones.base import Checkpointing, DiT, Scene, Velocity
from training.batch import References, TrainingBatch
from training.errors import BadBatch, BadMethodSettings
from training.methods.base import Loss
from training.methods.frozen import FrozenDiT
from training.methods.video_as_prompt import cost
from training.methods.video_as_prompt.experts import (
    Beside,
    Expert,
    JointBlock,
    ReferenceEmbedding,
    Rotary,
    Tokens,
)
from training.methods.video_as_prompt.settings import VideoAsPromptSettings


class VideoAsPrompt(FrozenDiT):
    """Everything that trains, and the frozen DiT, in one module whose forward is the loss.

    Args:
        dit: a CogVideoX; frozen here, and a block that gets an expert is replaced by both (`JointBlock`).
        settings: which blocks get one.

    Raises:
        BadMethodSettings: layers that the DiT does not have, or another family.
    """

    settings: VideoAsPromptSettings

    def __init__(self, dit: DiT, settings: VideoAsPromptSettings) -> None:
        super().__init__(dit, settings)
        self.layers = chosen_layers(settings, len(dit.blocks))
        for layer in self.layers:
            expert = Expert(dit.blocks[layer], last=layer == self.layers[-1])
            dit.blocks[layer] = JointBlock(dit.blocks[layer], expert)
        self.embedding = ReferenceEmbedding(dit.module)

    def forward(self, batch: TrainingBatch) -> Loss:
        """The mean loss of the batch's targets, each denoised beside its own references."""
        return self.denoised(batch, partial(self.velocity, self.condition(batch.references)))

    def condition(self, references: References) -> References:
        """The references themselves.

        Raises:
            BadBatch: latents, first frames or texts are missing, or more references than are trained with.
        """
        if references.latents is None or references.first_frames is None or references.texts is None:
            raise BadBatch(
                "Video-As-Prompt reads latents, first frame and caption of its references. Encode them, or"
                " ask the stream for them (`needs`)."
            )
        if (count := references.first_frames.shape[1]) > self.settings.references:
            raise BadBatch(
                f"{count} references, and this model takes at most {self.settings.references}. Name fewer, or"
                f" train with method.references={count}."
            )
        return references

    @contextmanager
    def under(self, condition: References | None) -> Iterator[Velocity]:
        """Denoise beside these references, for inference; None: as it was frozen."""
        yield self.dit.velocity if condition is None else partial(self.velocity, condition)

    def velocity(self, references: References, noisy: Tensor, timesteps: Tensor, scene: Scene) -> Tensor:
        """A `Velocity` with references beside the DiT: its output [B, F, C, h, w].

        The references of one batch serve several of them: row n reads those of row n modulo their number.
        """
        model, dtype = self.transformer, self.transformer.proj_out.weight.dtype
        embedded = model.time_proj(timesteps).to(dtype)
        time = model.time_embedding(embedded)
        inputs = self.dit.input_of(noisy.to(dtype), scene.first_frame.to(dtype))
        joint, length = model.patch_embed(scene.text.to(dtype), inputs), scene.text.shape[1]
        video, text = joint[:, length:], joint[:, :length]
        rotary = self.dit.rotary(noisy.shape[1:], noisy.device)
        beside = self._beside(references, scene, embedded, noisy.shape[1:], video.shape[1])
        for block in self.dit.blocks:
            if isinstance(block, JointBlock):
                video, text, *theirs = self._run(block, video, text, time, rotary, None, beside)
                beside = beside._replace(tokens=Tokens(*theirs))
            else:
                video, text = self._run(block, video, text, time, rotary)
        video = model.proj_out(model.norm_out(model.norm_final(video), temb=time))
        (rows, frames, _, height, width), patch = noisy.shape, model.config.patch_size
        cells = video.view(rows, frames, height // patch, width // patch, -1, patch, patch)
        return cells.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)

    def _beside(
        self, references: References, scene: Scene, embedded: Tensor, shape: Sequence[int], video_tokens: int
    ) -> Beside:
        """The reference stream before the first block, as many rows as the scene has."""
        rows, times = len(scene.text), len(scene.text) // len(references)

        def repeated(tensor: Tensor) -> Tensor:
            return torch.cat([tensor] * times).to(embedded.dtype)

        texts, first_frames = repeated(references.texts), repeated(references.first_frames)
        count, length = texts.shape[1:3]
        if scene.negatives:
            told = scene.text[: scene.negatives, None].to(texts.dtype).expand(-1, count, -1, -1)
            texts = torch.cat([told, texts[scene.negatives :]])
        latents = repeated(references.latents).unflatten(1, (count, -1))
        inputs = self.dit.input_of(latents.flatten(0, 1), first_frames.flatten(0, 1))
        real = None
        if references.padded and references.mask is not None:
            # A token counts when one of its cells is real; text and target always do.
            cells = nn.functional.max_pool2d(repeated(references.mask), self.transformer.config.patch_size)
            others = cells.new_ones(rows, length + video_tokens + count * length)
            real = torch.cat([others, cells.flatten(1)], dim=1).bool()[:, None, None]
        return Beside(
            self.embedding.tokens(inputs.unflatten(0, (rows, count)), texts),
            self.embedding.time_embedding(embedded),
            self._rotary(count, shape, scene.text.device),
            real,
        )

    def _rotary(self, count: int, shape: Sequence[int], device: torch.device) -> Rotary:
        """Of n references of T latent frames: in time −nT … −1, the first one the most negative."""
        starts = [-(count - number) * shape[0] for number in range(count)]
        each = [self.dit.rotary(shape, device, first=start) for start in starts]
        if each[0] is None:
            return None
        cosines, sines = (torch.cat(parts) for parts in zip(*each, strict=True))
        return cosines, sines

    def _run(self, block: nn.Module, *inputs: object) -> tuple[Tensor, ...]:
        """A block, or what activation checkpointing makes of it."""
        if torch.is_grad_enabled() and self.transformer.gradient_checkpointing:
            return self.transformer._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)

    def vector(self, condition: References) -> None:
        """None: a reference in the context is no adapter."""

    def export(self, condition: References) -> None:
        """None: it is no LoRA either."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The experts, and what makes their tokens."""
        experts = [self.dit.blocks[layer].expert for layer in self.layers]
        parts = {"experts": experts, "embedding": [self.embedding]}
        return {
            name: [p for module in modules for p in module.parameters() if p.requires_grad]
            for name, modules in parts.items()
        }

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of the frozen DiT and of the reference stream, of one sample."""
        extra = cost.extra_flops(
            self.transformer.config, self.layers, latent_shape, self.settings.references, checkpointing
        )
        return self.dit.flops(latent_shape, checkpointing) + extra

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values that the frozen DiT and the experts keep of one sample."""
        extra = cost.extra_kept_values(
            self.transformer.config, self.layers, latent_shape, self.settings.references, checkpointing
        )
        return self.dit.kept_values(latent_shape, checkpointing) + extra


def chosen_layers(settings: VideoAsPromptSettings, blocks: int) -> tuple[int, ...]:
    """The blocks that get an expert, ascending; raises BadMethodSettings where the DiT has no such block."""
    if settings.expert_layers is None:
        return tuple(range(max(1, blocks - 1)))
    layers = tuple(sorted(set(settings.expert_layers)))
    if not layers or layers[-1] >= blocks:
        raise BadMethodSettings(
            f"method.expert_layers names block {layers[-1] if layers else 'none'}, and this backbone has 0 to"
            f" {blocks - 1}. Name blocks of these, or null for all but the last."
        )
    return layers
