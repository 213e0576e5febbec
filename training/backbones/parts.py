"""A backbone as parts of one folder of weights in diffusers' layout: located, checked, loaded, frozen."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import T5Tokenizer

from training.backbones.fingerprint import fingerprint
from training.backbones.geometry import SampleGeometry
from training.backbones.headers import require_tensors
from training.backbones.layout import PART_FOLDERS, files_read, read_json, weight_shards
from training.backbones.settings import BackboneSettings
from training.backbones.small_text import quiet_transformers
from training.backbones.weights import resolve_weights
from training.errors import TrainingError, WeightsUnreachable

PARTS = ("transformer", "vae", "text")
# How a part is loaded, and the model of a folder without storage, from its configuration.
Loader = Callable[[Path, torch.dtype, torch.device | str], Any]
Build = Callable[[dict[str, Any]], nn.Module]


@dataclass
class Parts(ABC):
    """What all families share. A part that was not asked for says so when it is used.

    A family says its `name`, its `loaders` by part, its `models` by folder, and what it requires.
    """

    settings: BackboneSettings
    folder: Path
    parts: dict[str, Any]

    name: ClassVar[str]
    title: ClassVar[str]
    loaders: ClassVar[Mapping[str, Loader]]
    models: ClassVar[Mapping[str, Build]]

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
            InvalidGeometry: a geometry or text length that the model does not allow.
            UnsupportedBackbone: the transformer is no image-to-video one of the family.
        """
        if unknown := set(parts) - set(PARTS):
            raise TrainingError(f"No part named {sorted(unknown)[0]!r}; a backbone has {', '.join(PARTS)}.")
        located = cls.locate(settings, parts)
        located.require(parts)
        located.check_weights(parts)
        _ = located.scheduler_config
        try:
            with quiet_transformers():
                loaded = {
                    part: cls.loaders[part](located.folder, settings.torch_dtype, device)
                    for part in sorted(parts)
                }
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise WeightsUnreachable(
                f"The weights in {str(located.folder)!r} cannot be read ({brief(error)}). Download them"
                " again, or name another folder: `--set backbone.model=<folder>`."
            ) from error
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
        geometry, tokens = settings.geometry, settings.max_text_tokens
        folder = resolve_weights(settings.model, parts, geometry, tokens, family=cls.name)
        return cls(settings, folder, {})

    @abstractmethod
    def require(self, parts: Collection[str]) -> None:
        """Check the configurations of the parts that are to be loaded."""

    def check_weights(self, parts: Collection[str]) -> None:
        """Read the headers of the parts' weights: is every tensor there that the configuration asks for?

        Raises:
            WeightsUnreachable: a file that is not whole, or tensors that are missing, unknown or of another
                shape.
        """
        for name in (folder for part in sorted(parts) for folder in PART_FOLDERS[self.name][part]):
            if name in self.models:
                self._check_folder(name)
            else:  # torn ones are named here: the library's own errors say no file
                for path in files_read(self.folder / name):
                    if path.suffix == ".json":
                        read_json(path)

    def _check_folder(self, name: str) -> None:
        config = self.folder / name / "config.json"
        try:
            with torch.device("meta"):
                model = self.models[name](read_json(config))
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsUnreachable(
                f"{config} describes no {name.replace('_', ' ')} of {self.title} ({brief(error)})."
            ) from error
        require_tensors(weight_shards(self.folder / name), model)

    @cached_property
    def scheduler_config(self) -> dict[str, Any]:
        """What lies in `scheduler/`."""
        return read_json(self.folder / "scheduler" / "scheduler_config.json")

    @property
    def geometry(self) -> SampleGeometry:
        return self.settings.geometry

    @cached_property
    def transformer_id(self) -> str:
        """SHA-256 of the frozen transformer and its schedule: what a trained model belongs to."""
        return fingerprint([self.folder / name for name in ("transformer", "scheduler")], {})

    @property
    def tokenizer(self) -> T5Tokenizer:
        return self.part("text")[0]

    def unread(self, caption: str) -> str:
        """The end of a caption beyond `max_text_tokens`; "" where all of it is read."""
        tokens = self.tokenizer(caption, add_special_tokens=False).input_ids
        room = self.settings.max_text_tokens - 1  # the end of the text is a token too
        return self.tokenizer.decode(tokens[room:]) if len(tokens) > room else ""

    def part(self, name: str) -> Any:
        """A loaded part."""
        if name not in self.parts:
            raise TrainingError(
                f"This backbone was loaded without its {name!r} part: add it to load_backbone."
            )
        return self.parts[name]


def pretrained(kind: Any, subfolder: str) -> Loader:
    """Loads a model of diffusers from a pipeline's folder, frozen."""

    def load(folder: Path, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
        model = kind.from_pretrained(
            folder, subfolder=subfolder, torch_dtype=dtype, local_files_only=True, use_safetensors=True
        )
        return frozen(model, dtype, device)

    return load


def text_encoder(kind: Any) -> Loader:
    """Loads a tokenizer and an encoder of transformers from a pipeline's folder."""

    def load(folder: Path, dtype: torch.dtype, device: torch.device | str) -> tuple[T5Tokenizer, nn.Module]:
        try:
            tokenizer = T5Tokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        except Exception as error:  # its three formats fail each in a way of its own
            raise WeightsUnreachable(
                f"The tokenizer in {folder / 'tokenizer'} cannot be read ({brief(error)}). Download it again."
            ) from error
        model = kind.from_pretrained(
            folder / "text_encoder", dtype=dtype, local_files_only=True, use_safetensors=True
        )
        _require_vocabulary(tokenizer, model.config.vocab_size, folder / "tokenizer")
        return tokenizer, frozen(model, dtype, device)

    return load


def frozen(model: nn.Module, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    """A model in one precision on one device, that never trains."""
    # Not diffusers' own `to`: it warns of modules to keep in fp32 even where there are none.
    return nn.Module.to(model, device=device, dtype=dtype).eval().requires_grad_(False)


def brief(error: BaseException) -> str:
    """An error on one line."""
    return " ".join(str(error).split())[:200]


def _require_vocabulary(tokenizer: T5Tokenizer, size: int, folder: Path) -> None:
    """A tokenizer that was read in part knows no word, and every prompt is the same to it."""
    letters = tokenizer(["a", "b"], add_special_tokens=False).input_ids
    if letters[0] == letters[1] or len(tokenizer) > size:
        raise WeightsUnreachable(
            f"The tokenizer in {folder} has {len(tokenizer)} tokens and does not belong to the text encoder"
            f" beside it, which knows {size}. Download both again."
        )
