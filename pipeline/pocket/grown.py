"""A pocket backbone that begins as a trained one and has words which that did not have."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.pocket.families import Family, Pipeline
from pipeline.samples.categories import CATEGORIES
from training.backbones.layout import read_json
from training.backbones.parts import brief
from training.backbones.small_text import quiet_transformers


class NoStart(PipelineError):
    """A folder that holds no pocket backbone of the family, or one that cannot be read."""


# What a VAE's configuration says of its training.
_SCALE = ("scaling_factor", "latents_mean", "latents_std")
# Of a new word's vector, as the fresh ones are long: what it has of its kin; the rest is its own.
_KIN = 0.8


def grow(pipeline: Pipeline, folder: Path, family: Family, categories: Sequence[str] = ()) -> None:
    """Give a fresh pipeline the weights of the one in a folder, and of its words what it knew of them.

    Args:
        categories: of effects; the name of one that is new begins near the known ones of its family. Other
            new words keep the fresh values.

    Raises:
        NoStart: see there.
    """
    where = folder / "pocket.json"
    if not where.is_file() or read_json(where).get("family", "cogvideox") != family.name:
        raise NoStart(f"{str(folder)!r} holds no pocket {family.name}: name a folder that `pocket` wrote.")
    try:
        with quiet_transformers():
            _take(pipeline, folder, _kin(categories, read_json(where, "categories")["categories"]))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise NoStart(
            f"The weights in {str(folder)!r} cannot be read ({brief(error)}): name another folder."
        ) from error


def _take(pipeline: Pipeline, folder: Path, kin: Mapping[str, Sequence[str]]) -> None:
    knew = {
        name: type(part).from_pretrained(folder / name, local_files_only=True, use_safetensors=True)
        for name in ("vae", "transformer", "text_encoder", "image_encoder")
        if (part := getattr(pipeline, name, None)) is not None
    }
    texts = knew.pop("text_encoder").state_dict()
    for name, part in knew.items():
        getattr(pipeline, name).load_state_dict(part.state_dict())
    config = knew["vae"].config
    pipeline.vae.register_to_config(**{name: config[name] for name in _SCALE if name in config})
    words = type(pipeline.tokenizer).from_pretrained(folder / "tokenizer", local_files_only=True)
    old, new = words.get_vocab(), pipeline.tokenizer.get_vocab()
    kept = sorted(old.keys() & new.keys())
    for name, value in pipeline.text_encoder.state_dict().items():
        if value.shape[0] == len(new) != texts[name].shape[0]:
            value[[new[word] for word in kept]] = texts[name][[old[word] for word in kept]].to(value)
            _begin_near(value, {piece: place for piece, place in new.items() if piece not in old}, new, kin)
        else:
            value.copy_(texts[name])


def _kin(categories: Sequence[str], known: Sequence[str]) -> dict[str, list[str]]:
    """Of each category that is no combination, the known ones of its family."""
    return {
        name: [other for other in known if CATEGORIES[other].family == CATEGORIES[name].family]
        for name in categories
        if len(CATEGORIES[name].parts) == 1
    }


def _begin_near(
    table: Tensor, fresh: Mapping[str, int], places: Mapping[str, int], kin: Mapping[str, Sequence[str]]
) -> None:
    """Turn the rows of fresh words in a table [words, width] towards their kin's, as long as they were."""
    for word, others in kin.items():
        place = fresh.get(f"▁{word}")
        known = [places[piece] for other in others if (piece := f"▁{other}") in places]
        if place is not None and known:
            # The mean of n vectors that have nothing to do with each other is √n times shorter.
            shared = table[known].mean(dim=0) * len(known) ** 0.5
            table[place] = _KIN * shared + (1 - _KIN**2) ** 0.5 * table[place]
