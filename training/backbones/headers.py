"""What the headers of weight files say: every tensor's name and shape, before any of them is loaded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from training.errors import WeightsUnreachable

NAMED = 3


def require_tensors(shards: Iterable[Path], model: nn.Module) -> None:
    """Check that weight files hold the tensors of a model, all of them and no others.

    Loading fills what is missing with random or uninitialised numbers, and leaves away what it does not know.

    Args:
        shards: safetensors files of one folder.
        model: without storage.

    Raises:
        WeightsUnreachable: see `require_names`.
    """
    ignored = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    require_names(shards, model.state_dict(keep_vars=True), ignored)


def require_names(shards: Iterable[Path], wanted: Mapping[str, Tensor], ignored: Sequence[str] = ()) -> None:
    """Check that weight files hold tensors of these names and shapes, all of them and no others.

    Args:
        shards: safetensors files of one folder.
        wanted: by name; of one tensor under several names one has to be there.
        ignored: patterns of names that may be there.

    Raises:
        WeightsUnreachable: a file that is no safetensors file or not whole; or the names of tensors that are
            missing, unknown, or of another shape.
    """
    shards = list(shards)
    found = {name: shape for shard in shards for name, shape in _shapes(shard).items()}
    names: dict[int, list[str]] = {}
    for name, value in wanted.items():
        names.setdefault(id(value), []).append(name)
    missing = [aliases[0] for aliases in names.values() if not any(name in found for name in aliases)]
    unknown = [name for name in found if name not in wanted and not any(re.search(i, name) for i in ignored)]
    reshaped = [
        f"{name} ({_size(found[name])}, not {_size(value.shape)})"
        for name, value in wanted.items()
        if name in found and tuple(found[name]) != tuple(value.shape)
    ]
    troubles = {"missing": missing, "unknown": unknown, "of another shape": reshaped}
    if said := [f"{what} are {_list(those)}" for what, those in troubles.items() if those]:
        raise WeightsUnreachable(
            f"The weights in {shards[0].parent} are not those of the configuration beside them:"
            f" {'; '.join(said)}. Download both again, or set `backbone.model` to another folder."
        )


def _shapes(path: Path) -> dict[str, list[int]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsUnreachable(
            f"{path} is not a whole safetensors file ({error}). Download the backbone again, or set"
            " `backbone.model` to another folder."
        ) from error


def _list(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"


def _size(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "one value"
