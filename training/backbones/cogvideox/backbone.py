"""CogVideoX-I2V from one folder of weights: the DiT, its VAE, its text encoder and its schedule."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from training.backbones.cogvideox import pixels as px
from training.backbones.cogvideox.conditioning import require_image_to_video
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.patches import project_patches
from training.backbones.cogvideox.published import meta_transformer
from training.backbones.cogvideox.sampler import CogVideoXSampler
from training.backbones.fingerprint import fingerprint
from training.backbones.frames import fit_frames, noised_frame, to_signed
from training.backbones.layout import read_json
from training.backbones.parts import PARTS, Parts, pretrained, text_encoder
from training.backbones.settings import BackboneSettings
from training.errors import InvalidGeometry, TrainingError, UnsupportedBackbone

__all__ = ["PARTS", "CogVideoXBackbone"]


def _load_transformer(folder: Path, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    return project_patches(pretrained(CogVideoXTransformer3DModel, "transformer")(folder, dtype, device))


@dataclass
class CogVideoXBackbone(Parts):
    """A loaded backbone (see `backbones.base`). A part that was not asked for says so when it is used."""

    name = "cogvideox"
    title = "CogVideoX"
    loaders = {  # noqa: RUF012
        "transformer": _load_transformer,
        "vae": pretrained(AutoencoderKLCogVideoX, "vae"),
        "text": text_encoder(T5EncoderModel),
    }
    models = {  # noqa: RUF012
        "transformer": CogVideoXTransformer3DModel.from_config,
        "vae": AutoencoderKLCogVideoX.from_config,
        "text_encoder": lambda config: T5EncoderModel(T5Config.from_dict(config)),
    }

    def require(self, parts: Collection[str]) -> None:
        """Learned positions fit one geometry alone."""
        if "transformer" in parts:
            config = _transformer_config(self.folder)
            _require_geometry(config, self.settings, _spatial_ratio(self.folder))

    @classmethod
    def load(
        cls,
        settings: BackboneSettings,
        parts: Collection[str] = PARTS,
        device: torch.device | str = "cpu",
    ) -> Self:
        """See `Parts.load`; a VAE in tiles where that is asked for."""
        backbone = super().load(settings, parts, device)
        if settings.vae_tiling and "vae" in parts:
            px.enable_tiling(backbone.vae, backbone.geometry)
        return backbone

    @property
    def transformer(self) -> CogVideoXTransformer3DModel:
        return self.part("transformer")

    @property
    def vae(self) -> AutoencoderKLCogVideoX:
        return self.part("vae")

    @property
    def text_encoder(self) -> T5EncoderModel:
        return self.part("text")[1]

    @cached_property
    def dit(self) -> CogVideoXDiT:
        """The transformer with its objective."""
        return CogVideoXDiT(self.transformer, self.scheduler_config)

    def meta_dit(self) -> CogVideoXDiT:
        """The transformer of this configuration without storage, and its objective."""
        return CogVideoXDiT(meta_transformer(_transformer_config(self.folder)), self.scheduler_config)

    def sampler(self, name: str | None = None, shift: float | None = None) -> CogVideoXSampler:
        """A fresh sampler: "ddim", "dpm" or None, the one that the configuration names; it takes no shift."""
        if shift is not None:
            raise TrainingError("CogVideoX's samplers shift no timesteps: leave the shift off.")
        return CogVideoXSampler(self.scheduler_config, name)

    @cached_property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """[F, C, h, w] of a sample's latents."""
        return self.geometry.latent_shape(self._vae_config)

    @cached_property
    def _vae_config(self) -> dict[str, Any]:
        keys = ("block_out_channels", "latent_channels", "temporal_compression_ratio", "scaling_factor")
        return read_json(self.folder / "vae" / "config.json", *keys)

    @cached_property
    def encoder_id(self) -> str:
        """SHA-256 of what decides the stored features: VAE and text encoder, geometry, precision."""
        facts = self.settings.model_dump(exclude={"family", "model", "first_frame_scale"})
        scale = self.settings.first_frame_scale
        if scale not in (None, px.first_frame_scale(self._vae_config)):
            facts["first_frame_scale"] = scale
        return fingerprint([self.folder / name for name in ("vae", "text_encoder", "tokenizer")], facts)

    def encode_video(self, pixels: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Frames [n, H, W, 3] (uint8, or floating in [0, 1]) → posterior mean and std, scaled, [F, C, h, w].

        Frames are resized to the sample geometry; of more than it has, evenly spread ones are taken; fewer
        make fewer latent frames (`training.batch.pad_reference` fills them up).
        """
        chosen = fit_frames(len(pixels), self.geometry)
        return px.encode_video(self.vae, to_signed(pixels[chosen], self.geometry))

    def encode_first_frame(self, pixels: np.ndarray | Tensor, variants: int = 0, seed: int = 0) -> Tensor:
        """One frame [H, W, 3] → latents [1 + variants, C, h, w] for the DiT's image channels.

        Variant 0 is the clean frame; each other one is encoded after pixel noise of σ = exp(N(-3, 0.5)), a
        pure function of `seed` and the variant's number.
        """
        frame = to_signed(pixels[None], self.geometry)[0]
        frames = [frame, *(noised_frame(frame, seed, variant) for variant in range(1, variants + 1))]
        return torch.stack([self._image_latents(each) for each in frames])

    def encode_shown(self, pixels: np.ndarray | Tensor, pictured: np.ndarray | Tensor) -> Tensor:
        """Raises UnsupportedBackbone: a CogVideoX is shown a first frame and nothing after it."""
        raise UnsupportedBackbone(
            "A CogVideoX is shown a first frame, and no video with a mask: set backbone.family=wan."
        )

    def draw_first_frame(self, pixels: np.ndarray | Tensor, generator: torch.Generator) -> Tensor:
        """One frame [H, W, 3] → latents [C, h, w], drawn from the posterior as diffusers' pipeline draws."""
        return self._image_latents(to_signed(pixels[None], self.geometry)[0], generator)

    def draw_noise(self, generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Standard normal noise [1, F, C, h, w], as diffusers' pipeline draws it."""
        return randn_tensor((1, *self.latent_shape), generator=generator, device=device, dtype=dtype)

    def _image_latents(self, frame: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return px.encode_image(self.vae, frame, generator, self.settings.first_frame_scale)

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Captions → T5 embeddings [n, T, D], T = max_text_tokens; without an attention mask."""
        tokens = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.settings.max_text_tokens,
            truncation=True,
            add_special_tokens=True,
            return_tensors="pt",
        )
        return self.text_encoder(tokens.input_ids.to(self.text_encoder.device))[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] → uint8 frames [n, H, W, 3] on the CPU."""
        return px.decode_video(self.vae, latents)


def _transformer_config(folder: Path) -> dict[str, Any]:
    sizes = ("sample_height", "sample_width", "sample_frames", "max_text_seq_length")
    config = read_json(folder / "transformer" / "config.json", "in_channels", "out_channels", *sizes)
    require_image_to_video(config)
    return config


def _spatial_ratio(folder: Path) -> int:
    """Pixels per latent cell and side; CogVideoX's own where the VAE's files were not asked for."""
    config = folder / "vae" / "config.json"
    return (
        2 ** (len(read_json(config, "block_out_channels")["block_out_channels"]) - 1)
        if config.is_file()
        else 8
    )


def _require_geometry(config: dict[str, Any], settings: BackboneSettings, ratio: int) -> None:
    """Learned positions fit one height and width (at a VAE of this ratio) and one text length."""
    if not config.get("use_learned_positional_embeddings"):
        return
    height, width = config["sample_height"] * ratio, config["sample_width"] * ratio
    if (settings.height, settings.width) != (height, width) or settings.num_frames > config["sample_frames"]:
        raise InvalidGeometry(
            f"This backbone's positions fit {height}×{width}, at most {config['sample_frames']} frames,"
            f" not {settings.geometry}. Set height, width and num_frames to these."
        )
    if settings.max_text_tokens != config["max_text_seq_length"]:
        raise InvalidGeometry(
            f"This backbone's positions begin after {config['max_text_seq_length']} text tokens, not"
            f" {settings.max_text_tokens}. Set max_text_tokens to {config['max_text_seq_length']}."
        )
