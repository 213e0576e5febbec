"""Weights of metric networks: a file, or one of the hub; safetensors alone, for others are programs."""

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from training.backbones.hub import first_line, hub_refuses
from training.errors import TrainingError

Network = TypeVar("Network", bound=nn.Module)
SAFE = ".safetensors"
# How many batches a norm has seen is no weight, and some files leave it out.
COUNTER = "num_batches_tracked"


class BadWeights(TrainingError):
    """Weights that a person named and that cannot be used: missing, a pickle, or of another network."""


class Unavailable(TrainingError):
    """A metric that cannot be taken here; the message begins after "because"."""


def find_weights(place: str | None, setting: str, what: str) -> Path:
    """The safetensors file that a setting names.

    Args:
        place: a file; or `org/name/file.safetensors` of the hub, `org/name` for its model.safetensors.
        setting: its name, for sentences.
        what: the weights, for sentences.

    Raises:
        Unavailable: nothing is set, or the hub does not deliver.
        BadWeights: a file that is not there, or is of a kind that is not read.
    """
    if not place:
        raise Unavailable(f"no weights of {what} are set ({setting})")
    path = Path(place).expanduser()
    if path.suffix and path.suffix != SAFE:
        raise BadWeights(
            f"{setting} names {place}, and only {SAFE} files are read: others can run code when they are"
            f" loaded. Save the tensors of {what} with safetensors, and name that file."
        )
    if path.is_file():
        return path
    parts = place.split("/")
    if place.startswith(("/", ".", "~")) or len(parts) not in (2, 3) or not all(parts):
        raise BadWeights(
            f"{setting} names {place}, where there is no file; name a {SAFE} file with {what}, or one of the"
            f" hub as org/name/file{SAFE}."
        )
    return _of_hub("/".join(parts[:2]), parts[2] if len(parts) == 3 else f"model{SAFE}", what)


def _of_hub(repository: str, file: str, what: str) -> Path:
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    if why := hub_refuses(repository):
        raise Unavailable(
            f"the weights of {what} ({repository}/{file}) are not on this machine, and the hub does not"
            f" deliver them: {why}"
        )
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except (OSError, ValueError) as error:
        raise Unavailable(f"{repository}/{file} cannot be fetched: {first_line(error)}") from error


def require_tensors(model: nn.Module, file: Path, what: str) -> None:
    """Check that a safetensors file holds a network's tensors, by its header alone; `model` needs no storage.

    Raises:
        BadWeights: the file cannot be read, or its names and shapes are those of another network.
    """
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    try:
        with safe_open(file, framework="pt") as opened:
            there = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BadWeights(
            f"{file} is no readable safetensors file with {what}: {first_line(error)}."
        ) from error
    wrong = sorted(
        name
        for name in expected.keys() | there.keys()
        if not name.endswith(COUNTER) and expected.get(name) != there.get(name)
    )
    if wrong:
        name = wrong[0]
        has = f"{there[name]} there" if name in there else "missing there"
        wants = f"{expected[name]} here" if name in expected else "unknown here"
        raise BadWeights(
            f"{file} does not hold {what}: {len(wrong)} tensors differ, first {name!r}, {has} and {wants}."
        )


def load_tensors(model: Network, file: Path, what: str) -> Network:
    """The same network with the tensors of a safetensors file, in evaluation; it may have no storage yet.

    Raises:
        BadWeights: see `require_tensors`.
    """
    require_tensors(model, file, what)
    if any(parameter.is_meta for parameter in model.parameters()):
        model = model.to_empty(device="cpu")
    model.load_state_dict({n: v for n, v in load_file(file).items() if not n.endswith(COUNTER)}, strict=False)
    return model.eval()
