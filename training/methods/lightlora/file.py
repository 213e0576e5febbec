"""An adapter's file as a stranger may bring it: read without trust, said to be what it is."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from training.errors import BadAdapter
from training.methods.lightlora.layers import Factors, LightLoRA
from training.methods.lightlora.targets import ALPHA, DOWN, TARGETS, UP, linear_of

# Far above any LoRA of a model that is adapted here; a file of more is something else.
LARGEST = 4 * 2**30
LONGEST_FACTS = 2**16
ADAPTER = "adapter"
FACTS, PEFT = "video2lora", "lora_adapter_metadata"


@dataclass(frozen=True)
class AdapterFile:
    """What is in a file: a prediction θ, or a LoRA; one of the two.

    Attributes:
        theta: θ [L, r·(a+b)], fp32, or None. It means something for the model alone that it says it belongs
            to.
        lora: by the name of a linear in diffusers' model, down [r, in] and up [out, r], fp32, alpha
                                                                    multiplied in.
        facts: JSON of the header: where it comes from; {} where it says nothing.
        tensors: the names in the file.
    """

    path: Path
    theta: Tensor | None
    lora: Mapping[str, tuple[Tensor, Tensor]]
    facts: dict[str, Any] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The metadata and the tensors' shapes of a safetensors file; no tensor is read.

    Raises:
        BadAdapter: it is none, or too large for an adapter.
    """
    try:
        size = path.stat().st_size
        if not path.is_file() or size > LARGEST:
            said = f"{size / 1e9:.1f} GB are no adapter" if path.is_file() else "it is no file"
            raise BadAdapter(f"{path} cannot be read as an adapter: {said}. Name a .safetensors file.")
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return file.metadata() or {}, {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except OSError as error:
        raise BadAdapter(f"{path} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise BadAdapter(
            f"{path} is no whole safetensors file ({error}). An adapter is a .safetensors file; pickles (.pt,"
            " .ckpt, .bin) are never read."
        ) from error


def read_adapter_file(path: Path) -> AdapterFile:
    """An adapter or a LoRA.

    Raises:
        BadAdapter: no safetensors file, tensors that are neither, or values that are no finite numbers.
    """
    metadata, shapes = read_header(path)
    facts = _facts(path, metadata)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in shapes}
    for name, value in tensors.items():
        if not value.is_floating_point():
            raise BadAdapter(f"{path}: {name!r} holds {value.dtype}, and adapters hold floating numbers.")
        tensors[name] = value.float()
        if not tensors[name].isfinite().all():
            raise BadAdapter(f"{path}: {name!r} holds values that are no finite numbers; it is damaged.")
    if ADAPTER in tensors:
        if len(tensors) > 1 or tensors[ADAPTER].ndim != 2:
            raise BadAdapter(
                f"{path} is no adapter of ours: it should hold one tensor {ADAPTER!r} of two dimensions, and"
                f" holds {len(tensors)}, {ADAPTER!r} of shape {shapes[ADAPTER]}."
            )
        return AdapterFile(path, tensors[ADAPTER], {}, facts, tuple(shapes))
    return AdapterFile(path, None, _lora(path, tensors, metadata), facts, tuple(shapes))


def fitted(adapters: LightLoRA, file: AdapterFile) -> Tensor | Factors:
    """What is in a file as what a model denoises under: θ [1, L, r·(a+b)], or factors.

    Raises:
        BadAdapter: a LoRA of linears that this model does not adapt, or of other shapes.
        BadMethodSettings: θ of another shape.
    """
    if file.theta is not None:
        theta = file.theta[None].to(adapters.device)
        adapters.split(theta)
        return theta
    if left := [name for name in file.lora if name not in adapters.layers]:
        raise BadAdapter(
            f"{file.path} adapts {len(left)} of {len(file.lora)} linears that this model leaves alone, such"
            f" as {left[0]!r}: load it with diffusers, or name a model that adapts them (method.targets)."
        )
    by_linear = {}
    for name, (down, up) in file.lora.items():
        base = adapters.layers[name].base
        if down.shape[1] != base.in_features or up.shape[0] != base.out_features:
            raise BadAdapter(
                f"{file.path}: {name!r} is adapted from {down.shape[1]} to {up.shape[0]} values, and this"
                f" backbone's has {base.in_features} and {base.out_features}: it was made for another one."
            )
        by_linear[name] = (down.to(adapters.device), up.to(adapters.device))
    return Factors(by_linear)


def _facts(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    text = metadata.get(FACTS, "{}")
    try:
        # What it says is written into every clip that is made with it.
        facts = json.loads(text) if len(text) <= LONGEST_FACTS else None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise BadAdapter(
            f"{path}: its header says {FACTS!r}, and not as a JSON object of at most {LONGEST_FACTS}"
            " characters; it is damaged."
        )
    return facts


def _lora(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> dict[str, tuple[Tensor, Tensor]]:
    lora, taken = {}, set()
    share = _alpha_share(path, metadata)
    for key, down in tensors.items():
        stem = key.removesuffix(DOWN)
        linear = next((name for target in TARGETS if (name := linear_of(target, stem))), None)
        up = tensors.get(stem + UP)
        if stem == key or linear is None or up is None:
            continue
        rank = down.shape[0]
        if (
            down.ndim != 2
            or up.ndim != 2
            or up.shape[1] != rank
            or not 0 < rank <= min(down.shape[1], up.shape[0])
        ):
            raise BadAdapter(
                f"{path}: {stem!r} has factors {tuple(down.shape)} and {tuple(up.shape)}, which are no LoRA:"
                " [r, in] and [out, r] are."
            )
        alpha = tensors.get(stem + ALPHA)
        if alpha is not None and alpha.numel() != 1:
            raise BadAdapter(f"{path}: {stem + ALPHA!r} should be one number.")
        factor = share if alpha is None else float(alpha) / rank
        lora[linear] = (down, up if factor == 1 else up * factor)
        taken |= {key, stem + UP, stem + ALPHA}
    if left := sorted(tensors.keys() - taken):
        raise BadAdapter(
            f"{path}: of its {len(tensors)} tensors {len(left)} are none of an adapter's or LoRA's, such as"
            f" {left[0][:100]!r}. Names are read as diffusers and ComfyUI write them: …{DOWN} and …{UP} after"
            " 'transformer.' or 'diffusion_model.'; `video2lora adapter inspect` says what each tool loads of"
            " it."
        )
    if not lora:
        raise BadAdapter(f"{path} holds no tensors.")
    return lora


def _alpha_share(path: Path, metadata: Mapping[str, str]) -> float:
    """alpha / r as PEFT's settings in the header say it; 1 where they are not there."""
    try:
        said = json.loads(metadata.get(PEFT, "{}"))
        said = {key.removeprefix("transformer."): value for key, value in said.items()}
        odd = [name for name in ("use_dora", "use_rslora", "alpha_pattern", "rank_pattern") if said.get(name)]
        share = float(said.get("lora_alpha", 1)) / float(said.get("r", 1)) if said else 1.0
    except (ValueError, TypeError, AttributeError, ZeroDivisionError, RecursionError):
        odd, share = [], math.nan
    if odd or not math.isfinite(share):
        raise BadAdapter(
            f"{path}: its header's {PEFT!r} {'asks for ' + ', '.join(odd) if odd else 'is damaged'}, which is"
            " not read here. Save it with plain LoRA weights, alpha multiplied in."
        )
    return share
