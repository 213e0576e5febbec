"""An open_clip model as the pipeline uses it: descriptors of clips, and questions in words about them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor

from pipeline.embedding import change
from pipeline.embedding.clip_weights import find_clip
from pipeline.embedding.descriptor import ask_in_words, describe, descriptor_size
from pipeline.embedding.directions import shipped
from pipeline.embedding.settings import EmbedSettings
from pipeline.embedding.words import Words, load_words


@dataclass(frozen=True)
class Look:
    """What a clip's vector is made of: the frames that the model sees, and what was measured on pixels."""

    chosen: np.ndarray
    blocks: dict[str, np.ndarray]


class Embedder:
    """A loaded open_clip model.

    Attributes:
        embedder_id: fingerprint of weights, configuration, frames per clip and directions of pixels.
        dim: length of a clip's vector; its frames' are shorter, see `descriptor`.
    """

    def __init__(self, settings: EmbedSettings, device: str | None = None) -> None:
        files = find_clip(settings.model, settings.pretrained)
        self.embedder_id = files.embedder_id(settings.frames)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.frames = settings.frames
        # open_clip announces every file it reads on the root logger, and warns about random towers.
        logging.getLogger().setLevel(max(logging.getLogger().level, logging.WARNING))
        weights = None if files.name.startswith("local-dir:") else str(files.weights)
        model, _, self.preprocess = open_clip.create_model_and_transforms(
            files.name, pretrained=weights, device=self.device, **files.options
        )
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = open_clip.get_tokenizer(files.name)
        self.dim = descriptor_size(int(files.config["embed_dim"]))
        self.directions = shipped()
        self._files = files

    @cached_property
    def words(self) -> Words | None:
        """What this model's words mean for whole descriptors, where that was learned; see `load_words`."""
        if self._files.words is None:
            return None
        return load_words(self._files.words, self._files.embedder_id(EmbedSettings().frames))

    def choose(self, frames: np.ndarray) -> np.ndarray:
        """The frames of a clip [n, H, W, 3] that the model sees, spread evenly over it."""
        return frames[np.linspace(0, len(frames) - 1, min(self.frames, len(frames))).round().astype(int)]

    def look(self, frames: np.ndarray) -> Look:
        """All that a clip's vector is made of, of its uint8 frames [n, H, W, 3]; those may go then."""
        return Look(self.choose(frames).copy(), change.observe(frames))

    def embed_frames(self, frames: np.ndarray) -> np.ndarray:
        """The clip's vector, float32 [dim], length 1, of uint8 frames [n, H, W, 3] (n at least 1)."""
        return self.embed_clips([frames])[0]

    def embed_clips(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Descriptors float32 [n, dim], each of length 1, of clips uint8 [frames, H, W, 3]."""
        return self.embed_looks([self.look(clip) for clip in clips])

    @torch.inference_mode()
    def embed_looks(self, looks: Sequence[Look]) -> np.ndarray:
        """The same, of clips that were looked at."""
        blocks = {name: np.stack([look.blocks[name] for look in looks]) for name in change.BLOCKS}
        pixels = torch.from_numpy(self.directions.of(blocks))
        vectors = self.frame_vectors([look.chosen for look in looks])
        made = [describe(frames[None], each[None]) for frames, each in zip(vectors, pixels, strict=True)]
        return torch.cat(made).numpy()

    @torch.inference_mode()
    def frame_vectors(self, clips: Sequence[np.ndarray]) -> tuple[Tensor, ...]:
        """Vectors of the chosen frames of every clip, each fp32 [frames, D] on the CPU."""
        chosen = [self.choose(clip) for clip in clips]
        pixels = torch.stack([self.preprocess(Image.fromarray(frame)) for clip in chosen for frame in clip])
        vectors = self.model.encode_image(pixels.to(self.device), normalize=True).float().cpu()
        return vectors.split([len(clip) for clip in chosen])

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Questions float32 [n, dim], each of length 1: their cosine with a descriptor says what it shows."""
        if self.words is None:
            return ask_in_words(self.text_vectors(texts)).numpy()
        tower, tokens = self.model.text, self.tokenizer(list(texts)).to(self.device)
        mask = (tokens != tower.config.pad_token_id).long()
        read = tower.pooler(tower.transformer(input_ids=tokens, attention_mask=mask), mask)
        return self.words.ask(read.float().cpu().numpy())

    @torch.inference_mode()
    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """The model's own vectors of texts, fp32 [n, D] on the CPU: comparable with those of frames."""
        tokens = self.tokenizer(list(texts)).to(self.device)
        return self.model.encode_text(tokens).float().cpu()
