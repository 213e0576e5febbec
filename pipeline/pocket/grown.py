"""A pocket backbone that begins as a trained one and has words which that did not have."""

from pathlib import Path

import torch

from pipeline.errors import PipelineError
from pipeline.pocket.families import Family, Pipeline
from training.backbones.layout import read_json
from training.backbones.small_text import quiet_transformers


class NoStart(PipelineError):
    """A folder that holds no pocket backbone of the family."""


# What a VAE's configuration says of its training.
_SCALE = ("scaling_factor", "latents_mean", "latents_std")


def grow(pipeline: Pipeline, folder: Path, family: Family) -> None:
    """Give a fresh pipeline the weights of the one in a folder, and of its words what it knew of them.

    Words that are new keep the fresh values.

    Raises:
        NoStart: see there.
    """
    where = folder / "pocket.json"
    if not where.is_file() or read_json(where).get("family", "cogvideox") != family.name:
        raise NoStart(f"{str(folder)!r} holds no pocket {family.name}: name a folder that `pocket` wrote.")
    with quiet_transformers():
        trained = type(pipeline).from_pretrained(folder, torch_dtype=torch.float32)
    for name in ("vae", "transformer", "image_encoder"):
        if (part := getattr(trained, name, None)) is not None:
            getattr(pipeline, name).load_state_dict(part.state_dict())
    scale = {name: trained.vae.config[name] for name in _SCALE if name in trained.vae.config}
    pipeline.vae.register_to_config(**scale)
    old, new = trained.tokenizer.get_vocab(), pipeline.tokenizer.get_vocab()
    kept = sorted(old.keys() & new.keys())
    knew = trained.text_encoder.state_dict()
    for name, value in pipeline.text_encoder.state_dict().items():
        if value.shape[0] == len(new) != knew[name].shape[0]:
            value[[new[word] for word in kept]] = knew[name][[old[word] for word in kept]]
        else:
            value.copy_(knew[name])
