"""Wan 2.1 I2V from one folder of weights: the DiT, its VAE and image encoder, its text encoder, schedule."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan_i2v import prompt_clean
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    UMT5Config,
    UMT5EncoderModel,
)

from training.backbones.fingerprint import fingerprint
from training.backbones.frames import fit_frames, noised_frame, to_signed
from training.backbones.layout import read_json
from training.backbones.parts import Parts, frozen, pretrained, text_encoder
from training.backbones.wan import pixels as px
from training.backbones.wan.conditioning import TEXT_TOKENS, packed, require_image_to_video
from training.backbones.wan.cost import IMAGE_TOKENS
from training.backbones.wan.dit import WanDiT
from training.backbones.wan.published import meta_transformer
from training.backbones.wan.sampler import WanSampler
from training.errors import InvalidGeometry

Encoders = tuple[nn.Module, CLIPVisionModel, CLIPImageProcessor]


def _load_transformer(folder: Path, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    # diffusers keeps norms, tables and the time's embedding in fp32, as Wan was trained.
    model = WanTransformer3DModel.from_pretrained(
        folder, subfolder="transformer", torch_dtype=dtype, local_files_only=True, use_safetensors=True
    )
    return nn.Module.to(model, device=device).eval().requires_grad_(False)


def _load_encoders(folder: Path, dtype: torch.dtype, device: torch.device | str) -> Encoders:
    image = CLIPVisionModel.from_pretrained(
        folder / "image_encoder", dtype=dtype, local_files_only=True, use_safetensors=True
    )
    processor = CLIPImageProcessor.from_pretrained(folder / "image_processor", local_files_only=True)
    return pretrained(AutoencoderKLWan, "vae")(folder, dtype, device), frozen(image, dtype, device), processor


@dataclass
class WanBackbone(Parts):
    """A loaded backbone (see `backbones.base`). VAE and image encoder are one part, "vae"."""

    name = "wan"
    title = "Wan"
    loaders = {  # noqa: RUF012
        "transformer": _load_transformer,
        "vae": _load_encoders,
        "text": text_encoder(UMT5EncoderModel),
    }
    models = {  # noqa: RUF012
        "transformer": WanTransformer3DModel.from_config,
        "vae": AutoencoderKLWan.from_config,
        "image_encoder": lambda config: CLIPVisionModel(CLIPVisionConfig.from_dict(config)),
        "text_encoder": lambda config: UMT5EncoderModel(UMT5Config.from_dict(config)),
    }

    def require(self, parts: Collection[str]) -> None:
        """Images are taken, and the text has room."""
        if "transformer" in parts:
            require_image_to_video(_transformer_config(self.folder))
        if self.settings.max_text_tokens > TEXT_TOKENS:
            raise InvalidGeometry(
                f"Wan reads {TEXT_TOKENS} text tokens, not {self.settings.max_text_tokens}. Set"
                f" max_text_tokens to {TEXT_TOKENS} or less."
            )

    @property
    def transformer(self) -> WanTransformer3DModel:
        return self.part("transformer")

    @property
    def vae(self) -> AutoencoderKLWan:
        return self.part("vae")[0]

    @property
    def text_encoder(self) -> UMT5EncoderModel:
        return self.part("text")[1]

    @cached_property
    def dit(self) -> WanDiT:
        """The transformer with its objective."""
        return WanDiT(self.transformer, self.scheduler_config, self._image_tokens)

    def meta_dit(self) -> WanDiT:
        """The transformer of this configuration without storage, and its objective."""
        transformer = meta_transformer(_transformer_config(self.folder))
        return WanDiT(transformer, self.scheduler_config, self._image_tokens)

    @property
    def _image_tokens(self) -> int:
        path = self.folder / "image_encoder" / "config.json"
        if not path.is_file():  # where only the transformer was fetched it is the published one's
            return IMAGE_TOKENS
        config = CLIPVisionConfig.from_dict(read_json(path))
        return (config.image_size // config.patch_size) ** 2 + 1

    def sampler(self, name: str | None = None, shift: float | None = None) -> WanSampler:
        """A fresh sampler: "unipc", "euler" or None, what the configuration names; so for the shift."""
        changed = {} if shift is None else {"flow_shift": shift}
        return WanSampler(self.scheduler_config | changed, name)

    @cached_property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """[F, C, h, w] of a sample's latents."""
        config = read_json(self.folder / "vae" / "config.json", "dim_mult", "temperal_downsample", "z_dim")
        spatial = 2 ** (len(config["dim_mult"]) - 1) * (config.get("patch_size") or 1)
        frames = (self.geometry.num_frames - 1) // 2 ** sum(config["temperal_downsample"]) + 1
        return frames, config["z_dim"], self.geometry.height // spatial, self.geometry.width // spatial

    @cached_property
    def encoder_id(self) -> str:
        """SHA-256 of what decides the stored features: VAE, image and text encoder, geometry, precision."""
        facts = self.settings.model_dump(exclude={"family", "model", "first_frame_scale"})
        names = ("vae", "image_encoder", "image_processor", "text_encoder", "tokenizer")
        return fingerprint([self.folder / name for name in names], facts)

    def encode_video(self, pixels: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Frames [n, H, W, 3] → posterior mean and std, normalised, [F, C, h, w]; few make a short one."""
        chosen = fit_frames(len(pixels), self.geometry)
        return px.encode_video(self.vae, to_signed(pixels[chosen], self.geometry))

    def encode_first_frame(self, pixels: np.ndarray | Tensor, variants: int = 0, seed: int = 0) -> Tensor:
        """One frame [H, W, 3] → condition latents and CLIP state as one, [1 + variants, n].

        Variant 0 is the clean frame; each other one is encoded after pixel noise (`frames.noised_frame`).
        """
        frame = to_signed(pixels[None], self.geometry)[0]
        frames = [frame, *(noised_frame(frame, seed, variant) for variant in range(1, variants + 1))]
        return torch.stack([self._condition(each) for each in frames])

    def encode_shown(self, pixels: np.ndarray | Tensor, pictured: np.ndarray | Tensor) -> Tensor:
        """The latents of the video [n, H, W, 3] and CLIP's state of the frame [H, W, 3], as one [n']."""
        _, image, processor = self.part("vae")
        latents, _ = self.encode_video(pixels)
        frame = to_signed(pictured[None], self.geometry)[0]
        return packed(latents, px.image_state(image, processor, frame))

    def draw_first_frame(self, pixels: np.ndarray | Tensor, generator: torch.Generator) -> Tensor:
        """The same of the clean frame, [n]: Wan's pipeline takes the posterior's mean and draws nothing."""
        return self._condition(to_signed(pixels[None], self.geometry)[0])

    def draw_noise(self, generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Standard normal noise [1, F, C, h, w]; the pipeline draws it with the channels first."""
        frames, channels, *size = self.latent_shape
        drawn = randn_tensor((1, channels, frames, *size), generator=generator, device=device, dtype=dtype)
        return drawn.transpose(1, 2).contiguous()

    def _condition(self, frame: Tensor) -> Tensor:
        _, image, processor = self.part("vae")
        latents = px.encode_condition(self.vae, frame, self.geometry.num_frames)
        return packed(latents, px.image_state(image, processor, frame))

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Captions → UMT5 embeddings [n, T, D], T = max_text_tokens; zeros after the end of each."""
        tokens = self.tokenizer(
            [prompt_clean(caption) for caption in captions],
            padding="max_length",
            max_length=self.settings.max_text_tokens,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        ids, mask = (each.to(self.text_encoder.device) for each in (tokens.input_ids, tokens.attention_mask))
        return self.text_encoder(ids, mask).last_hidden_state * mask[:, :, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] → uint8 frames [n, H, W, 3] on the CPU."""
        return px.decode_video(self.vae, latents)


def _transformer_config(folder: Path) -> dict[str, Any]:
    return read_json(folder / "transformer" / "config.json", "in_channels", "out_channels", "patch_size")
