"""Where weights lie: a hub name, a folder in the hub's layout, or "random:<seed>"."""

import re
from collections.abc import Collection
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from training.backbones.cogvideox import small as cogvideox
from training.backbones.geometry import SampleGeometry
from training.backbones.hub import DEADLINE, cache_folder, first_line, hub_refuses
from training.backbones.layout import folders_of, missing_file, require_family
from training.backbones.wan import small as wan
from training.errors import WeightsUnreachable

# What `make pocket` trains of each family.
POCKET = Path(__file__).parents[1] / "pocket"
POCKET_WAN = Path(__file__).parents[1] / "pocket-wan"
# What writes small random weights of a family, and the number of its recipe.
WRITERS = {"cogvideox": cogvideox.write_tiny_backbone, "wan": wan.write_tiny_backbone}
RECIPES = {"cogvideox": cogvideox.RECIPE, "wan": wan.RECIPE}
_RANDOM = re.compile(r"random:(\d{1,9})")
_HUB_NAME = re.compile(r"[\w-]+(\.[\w-]+)*/[\w-]+(\.[\w-]+)*")


def resolve_weights(
    model: str,
    parts: Collection[str],
    geometry: SampleGeometry,
    max_text_tokens: int,
    deadline: float = DEADLINE,
    family: str = "cogvideox",
) -> Path:
    """The folder with `parts` ("transformer", "vae", "text") and the scheduler of a backbone.

    Args:
        model: "pocket" (what `make pocket` trained of this family), "random:<seed>" (written on first use,
            for `geometry` and `max_text_tokens`), a folder, or a hub name (taken from the local hub cache,
            else downloaded: only what the parts need).
        deadline: seconds that the hub has to answer at all.
        family: that the weights are to be of.

    Raises:
        WeightsUnreachable: of another family, nothing there, a part missing, incomplete or there twice, or
            the hub does not answer in time.
    """
    if model == "pocket":
        pocket = POCKET_WAN if family == "wan" else POCKET
        if not pocket.is_dir():
            raise WeightsUnreachable(
                "This checkout carries no pocket backbone: `make pocket` trains it, or set"
                " `backbone.model` to 'random:0' to try the way with random weights."
            )
        model = str(pocket)
    if match := _RANDOM.fullmatch(model):
        kind = "random" if family == "cogvideox" else f"random-{family}"
        name = f"{kind}-{match[1]}-{geometry}-{max_text_tokens}t-r{RECIPES[family]}"
        return WRITERS[family](cache_folder() / name, int(match[1]), geometry, max_text_tokens)
    folder = Path(model).expanduser()
    if folder.is_dir():
        require_family(folder, family)
        if missing := missing_file(folder, parts, family):
            raise WeightsUnreachable(
                f"The folder {model!r} holds no complete backbone: {missing} is missing. Fetch it"
                " (`hf download <name> --local-dir <folder>`) and name it: `--set backbone.model=<folder>`."
            )
        return folder
    if not _HUB_NAME.fullmatch(model):
        raise WeightsUnreachable(
            f"No weights at {model!r}: it is no folder. Name one in diffusers' layout with"
            " `--set backbone.model=<folder>`, a hub name such as 'zai-org/CogVideoX-5b-I2V', or 'random:0'."
        )
    return _from_hub(model, parts, deadline, family)


def _from_hub(name: str, parts: Collection[str], deadline: float, family: str) -> Path:
    patterns = ["model_index.json", *(f"{folder}/*" for folder in folders_of(parts, family))]
    try:
        cached = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
        require_family(cached, family)
        if not missing_file(cached, parts, family):
            return cached
    except (LocalEntryNotFoundError, HFValidationError):
        pass  # not in the cache: ask the hub
    if why := hub_refuses(name, deadline):
        raise _unreachable(name, why)
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise _unreachable(name, first_line(error)) from error
    require_family(folder, family)
    if missing := missing_file(folder, parts, family):
        raise _unreachable(name, f"the repository has no {missing}")
    return folder


def _unreachable(name: str, why: str) -> WeightsUnreachable:
    return WeightsUnreachable(
        f"The weights {name!r} are not on this machine and the hub does not deliver them ({why})."
        f" Where there is a network run `hf download {name} --local-dir <folder>`, then name that"
        " folder: `--set backbone.model=<folder>`."
    )
