"""CogVideoX-I2V from one folder of weights: the DiT, its VAE, its text encoder and its schedule."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from training.backbones.cogvideox import pixels as px
from training.backbones.cogvideox.conditioning import require_image_to_video
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.patches import project_patches
from training.backbones.cogvideox.published import meta_transformer
from training.backbones.cogvideox.sampler import CogVideoXSampler
from training.backbones.cogvideox.small import quiet_transformers
from training.backbones.fingerprint import fingerprint
from training.backbones.geometry import SampleGeometry
from training.backbones.headers import require_tensors
from training.backbones.layout import files_read, read_json, weight_shards
from training.backbones.settings import BackboneSettings
from training.backbones.weights import resolve_weights
from training.errors import InvalidGeometry, TrainingError, WeightsUnreachable

PARTS = ("transformer", "vae", "text")


@dataclass
class CogVideoXBackbone:
    """A loaded backbone (see `backbones.base`). A part that was not asked for says so when it is used."""

    settings: BackboneSettings
    folder: Path
    parts: dict[str, Any]

    @classmethod
    def load(
        cls,
        settings: BackboneSettings,
        parts: Collection[str] = PARTS,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Load the frozen parts ("transformer", "vae", "text") in the settings' precision.

        Raises:
            WeightsUnreachable: they cannot be found, downloaded or read, or do not fit their configuration.
            InvalidGeometry: a geometry or text length that the transformer's learned positions do not allow.
            UnsupportedBackbone: the transformer is no CogVideoX 1.0 image-to-video one.
        """
        if unknown := set(parts) - set(PARTS):
            raise TrainingError(f"No part named {sorted(unknown)[0]!r}; a backbone has {', '.join(PARTS)}.")
        geometry = settings.geometry
        folder = resolve_weights(settings.model, parts, geometry, settings.max_text_tokens)
        if "transformer" in parts:
            config = _transformer_config(folder)
            _require_geometry(config, settings, _spatial_ratio(folder))
        located = cls(settings, folder, {})
        located.check_weights(parts)
        _ = located.scheduler_config
        try:
            with quiet_transformers():
                loaded = {
                    part: _LOADERS[part](folder, settings.torch_dtype, device) for part in sorted(parts)
                }
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise WeightsUnreachable(
                f"The weights in {str(folder)!r} cannot be read ({_brief(error)}). Download them again, or"
                " name another folder: `--set backbone.model=<folder>`."
            ) from error
        if settings.vae_tiling and "vae" in loaded:
            px.enable_tiling(loaded["vae"], geometry)
        located.parts.update(loaded)
        return located

    @classmethod
    def locate(cls, settings: BackboneSettings, parts: Collection[str]) -> Self:
        """The backbone with no part loaded: enough for its identities and shapes.

        Args:
            settings: which one.
            parts: whose files have to be there ("transformer", "vae", "text").

        Raises:
            WeightsUnreachable, InvalidGeometry: see `load`.
        """
        folder = resolve_weights(settings.model, parts, settings.geometry, settings.max_text_tokens)
        return cls(settings, folder, {})

    def check_weights(self, parts: Collection[str]) -> None:
        """Read the headers of the parts' weights: is every tensor there that the configuration asks for?

        Raises:
            WeightsUnreachable: a file that is not whole, or tensors that are missing, unknown or of another
                shape.
        """
        for part in sorted(parts):
            name = "text_encoder" if part == "text" else part
            config = self.folder / name / "config.json"
            try:
                with torch.device("meta"):
                    model = _MODELS[part](read_json(config))
            except (KeyError, TypeError, ValueError) as error:
                raise WeightsUnreachable(
                    f"{config} describes no {name.replace('_', ' ')} of CogVideoX ({_brief(error)})."
                ) from error
            require_tensors(weight_shards(self.folder / name), model)
            if part == "text":  # torn ones are named here: the tokenizer's own errors say no file
                for path in files_read(self.folder / "tokenizer"):
                    if path.suffix == ".json":
                        read_json(path)

    @property
    def transformer(self) -> CogVideoXTransformer3DModel:
        return self._part("transformer")

    @property
    def vae(self) -> AutoencoderKLCogVideoX:
        return self._part("vae")

    @property
    def tokenizer(self) -> T5Tokenizer:
        return self._part("text")[0]

    @property
    def text_encoder(self) -> T5EncoderModel:
        return self._part("text")[1]

    @cached_property
    def dit(self) -> CogVideoXDiT:
        """The transformer with its objective."""
        return CogVideoXDiT(self.transformer, self.scheduler_config)

    def meta_dit(self) -> CogVideoXDiT:
        """The transformer of this configuration without storage, and its objective."""
        return CogVideoXDiT(meta_transformer(_transformer_config(self.folder)), self.scheduler_config)

    @cached_property
    def scheduler_config(self) -> dict[str, Any]:
        """What lies in `scheduler/`."""
        return read_json(self.folder / "scheduler" / "scheduler_config.json")

    def sampler(self, name: str | None = None) -> CogVideoXSampler:
        """A fresh sampler: "ddim", "dpm" or None, the one that the configuration names."""
        return CogVideoXSampler(self.scheduler_config, name)

    @property
    def geometry(self) -> SampleGeometry:
        return self.settings.geometry

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
        facts = self.settings.model_dump(exclude={"model", "first_frame_scale"})
        scale = self.settings.first_frame_scale
        if scale not in (None, px.first_frame_scale(self._vae_config)):
            facts["first_frame_scale"] = scale
        return fingerprint([self.folder / name for name in ("vae", "text_encoder", "tokenizer")], facts)

    @cached_property
    def transformer_id(self) -> str:
        """SHA-256 of the frozen transformer and its schedule: what a trained model belongs to."""
        return fingerprint([self.folder / name for name in ("transformer", "scheduler")], {})

    def encode_video(self, pixels: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Frames [n, H, W, 3] (uint8, or floating in [0, 1]) → posterior mean and std, scaled, [F, C, h, w].

        Frames are resized to the sample geometry; of more than it has, evenly spread ones are taken; fewer
        make fewer latent frames (`training.batch.pad_reference` fills them up).
        """
        chosen = px.fit_frames(len(pixels), self.geometry)
        return px.encode_video(self.vae, px.to_signed(pixels[chosen], self.geometry))

    def encode_first_frame(self, pixels: np.ndarray | Tensor, variants: int = 0, seed: int = 0) -> Tensor:
        """One frame [H, W, 3] → latents [1 + variants, C, h, w] for the DiT's image channels.

        Variant 0 is the clean frame; each other one is encoded after pixel noise of σ = exp(N(-3, 0.5)), a
        pure function of `seed` and the variant's number.
        """
        frame = px.to_signed(pixels[None], self.geometry)[0]
        frames = [frame, *(px.noised_frame(frame, seed, variant) for variant in range(1, variants + 1))]
        return torch.stack([self._image_latents(each) for each in frames])

    def draw_first_frame(self, pixels: np.ndarray | Tensor, generator: torch.Generator) -> Tensor:
        """One frame [H, W, 3] → latents [C, h, w], drawn from the posterior as diffusers' pipeline draws."""
        return self._image_latents(px.to_signed(pixels[None], self.geometry)[0], generator)

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

    def unread(self, caption: str) -> str:
        """The end of a caption beyond `max_text_tokens`; "" where all of it is read."""
        tokens = self.tokenizer(caption, add_special_tokens=False).input_ids
        room = self.settings.max_text_tokens - 1  # the end of the text is a token too
        return self.tokenizer.decode(tokens[room:]) if len(tokens) > room else ""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] → uint8 frames [n, H, W, 3] on the CPU."""
        return px.decode_video(self.vae, latents)

    def _part(self, name: str) -> Any:
        if name not in self.parts:
            raise TrainingError(
                f"This backbone was loaded without its {name!r} part: add it to load_backbone."
            )
        return self.parts[name]


def _load_transformer(
    folder: Path, dtype: torch.dtype, device: torch.device | str
) -> CogVideoXTransformer3DModel:
    model = CogVideoXTransformer3DModel.from_pretrained(
        folder, subfolder="transformer", torch_dtype=dtype, local_files_only=True, use_safetensors=True
    )
    return _frozen(project_patches(model), dtype, device)


def _load_vae(folder: Path, dtype: torch.dtype, device: torch.device | str) -> AutoencoderKLCogVideoX:
    model = AutoencoderKLCogVideoX.from_pretrained(
        folder, subfolder="vae", torch_dtype=dtype, local_files_only=True, use_safetensors=True
    )
    return _frozen(model, dtype, device)


def _load_text(
    folder: Path, dtype: torch.dtype, device: torch.device | str
) -> tuple[T5Tokenizer, T5EncoderModel]:
    try:
        tokenizer = T5Tokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except Exception as error:  # its three formats fail each in a way of its own
        raise WeightsUnreachable(
            f"The tokenizer in {folder / 'tokenizer'} cannot be read ({_brief(error)}). Download it again."
        ) from error
    model = T5EncoderModel.from_pretrained(
        folder / "text_encoder", dtype=dtype, local_files_only=True, use_safetensors=True
    )
    _require_vocabulary(tokenizer, model.config.vocab_size, folder / "tokenizer")
    return tokenizer, _frozen(model, dtype, device)


def _require_vocabulary(tokenizer: T5Tokenizer, size: int, folder: Path) -> None:
    """A tokenizer that was read in part knows no word, and every prompt is the same to it."""
    letters = tokenizer(["a", "b"], add_special_tokens=False).input_ids
    if letters[0] == letters[1] or len(tokenizer) > size:
        raise WeightsUnreachable(
            f"The tokenizer in {folder} has {len(tokenizer)} tokens and does not belong to the text encoder"
            f" beside it, which knows {size}. Download both again."
        )


def _frozen(model: nn.Module, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    # Not diffusers' own `to`: it warns of modules to keep in fp32 even where there are none.
    return nn.Module.to(model, device=device, dtype=dtype).eval().requires_grad_(False)


_LOADERS = {"transformer": _load_transformer, "vae": _load_vae, "text": _load_text}
_MODELS = {
    "transformer": CogVideoXTransformer3DModel.from_config,
    "vae": AutoencoderKLCogVideoX.from_config,
    "text": lambda config: T5EncoderModel(T5Config.from_dict(config)),
}


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


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
