"""What `generate` and `adapter` are asked for, looked at before anything loads."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from catalog.store import Catalog
from jobs.errors import JobError
from jobs.options import LARGEST_SEED
from training.files import lora_beside


class Kind(NamedTuple):
    """A kind of file that is written."""

    suffix: str
    name: str
    example: str


VIDEO = Kind(".mp4", "an mp4", "clip")
SHEET = Kind(".jpg", "a JPEG", "sheet")
# Never a pickle, which may run whatever it likes where it is opened.
ADAPTER = Kind(".safetensors", "a safetensors file", "adapter")


MOST_SEEDS = 64


class BadRequest(JobError):
    """A clip that cannot be generated as asked."""


class Effect(NamedTuple):
    """An effect that is asked for: a video, picture or clip_id, or an adapter's file; and how much of it."""

    name: str
    adapter: bool = False
    weight: float = 1.0


def effects_of(catalog: Catalog, references: Sequence[str], adapters: Sequence[str]) -> list[Effect]:
    """What `--reference` and `--adapter` name, with their weights: all have one, or none.

    Raises:
        BadRequest: none is named, one is nothing, or some have a weight and some have none.
        BadSource: a weight that is no number.
    """
    from pipeline.adapters import parse_weighted

    named = [(text, False) for text in references] + [(text, True) for text in adapters]
    parsed = [(*parse_weighted(catalog, text), adapter) for text, adapter in named]
    for name, _, adapter in parsed:
        if adapter:
            _require_adapter(name)
        else:
            _require_example(catalog, "--reference", name)
    if not parsed:
        raise BadRequest("Say which effect: --reference VIDEO (or a clip_id), or --adapter FILE.safetensors.")
    without = [name for name, weight, _ in parsed if weight is None]
    if without and len(without) < len(parsed):
        raise BadRequest(
            f"{without[0]!r} has no weight, and others have one; write {without[0]}=0.5, or none."
        )
    return [Effect(name, adapter, 1 / len(parsed) if w is None else w) for name, w, adapter in parsed]


def weights_of(effects: Sequence[Effect]) -> list[float] | None:
    """None where none was named: a model that reads several references together then does."""
    weights = [each.weight for each in effects]
    return None if weights == [1 / len(effects)] * len(effects) else weights


def check_request(
    catalog: Catalog,
    effects: Sequence[Effect],
    first_frame: str,
    output: Path | None,
    seeds: Sequence[int] = (),
    force: bool = False,
) -> None:
    """Refuse a first frame that is neither a file nor a clip, and outputs as `check_output` does.

    Raises:
        BadRequest: see above.
    """
    _require_example(catalog, "--first-frame", first_frame)
    if output is not None:
        inputs = [Path(first_frame), *(Path(each.name) for each in effects)]
        check_outputs(output, seeds, inputs, force)


def check_outputs(output: Path, seeds: Sequence[int], inputs: list[Path], force: bool) -> None:
    """`check_output` of all that is written: a video for each seed and their sheet, or one video."""
    for path in outputs_of(output, seeds):
        check_output(path, inputs, force)
    if seeds:
        check_output(sheet_of(output), inputs, force, SHEET)


def check_seeds(seed: int | None, seeds: str | None) -> list[int]:
    """The seeds of `--seeds`, none where it is not given; raises BadRequest, also where `--seed` is too."""
    if seeds is None:
        return []
    if seed is not None:
        raise BadRequest("--seed and --seeds are both given; name one of them.")
    return parse_seeds(seeds)


def outputs_of(output: Path, seeds: Sequence[int]) -> list[Path]:
    """The videos that will be written: the output, or one beside it for each seed."""
    return [output.with_stem(f"{output.stem}-seed-{seed}") for seed in seeds] or [output]


def sheet_of(output: Path) -> Path:
    """Where the sheet of several seeds lies."""
    return output.with_name(f"{output.stem}-seeds{SHEET.suffix}")


def check_adapter_request(effects: Sequence[Effect], output: Path, force: bool) -> None:
    """Refuse an adapter's output as `check_output` does.

    Raises:
        BadRequest: see above.
    """
    check_output(output, [Path(each.name) for each in effects], force, ADAPTER)


def parse_seeds(text: str) -> list[int]:
    """Seeds of "0-7", "3" or "0,5,9-11", in that order, each once.

    Raises:
        BadRequest: it is none of these, or more than MOST_SEEDS.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        last = last if dash else first
        if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
            raise BadRequest(f"--seeds {text!r} is no list of seeds; write 0-7, or 0,5,9.")
        low, high = int(first), int(last)
        if low > high or high > LARGEST_SEED or high - low >= MOST_SEEDS:
            raise BadRequest(
                f"--seeds {part.strip()!r} should go upwards, to {LARGEST_SEED} at most, and be no more than"
                f" {MOST_SEEDS} seeds; write 0-7."
            )
        found |= dict.fromkeys(range(low, high + 1))
    if len(found) > MOST_SEEDS:
        raise BadRequest(f"--seeds {text!r} are {len(found)} seeds, and a sheet has {MOST_SEEDS} at most.")
    return list(found)


def check_output(output: Path, inputs: list[Path], force: bool, kind: Kind = VIDEO) -> None:
    """Refuse an output that is not of its kind, one of the inputs, there already, or nowhere to be written.

    Args:
        kind: of the file, by its suffix.
        force: a file that is there may be replaced; an input never.

    Raises:
        BadRequest: see above.
    """
    if output.is_dir():
        example = output / f"{kind.example}{kind.suffix}"
        raise BadRequest(f"--output {output} is a folder; name a file in it, as in -o {example}.")
    if output.suffix.lower() != kind.suffix:
        raise BadRequest(
            f"--output {output} does not end in {kind.suffix}, and {kind.name} is what is written; "
            f"-o {output.with_suffix(kind.suffix)}."
        )
    for path in (output, lora_beside(output)):
        if any(_same(path, each) for each in inputs):
            raise BadRequest(
                f"--output: {path} is one of the inputs, which stay as they are; name another file."
            )
        if path.exists() and not force:
            raise BadRequest(f"{path} is there already. --force replaces it; -o names another file.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        probe = output.with_name(f".{output.stem[:50]}.probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadRequest(f"--output {output} cannot be written: {error.strerror}.") from error


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # one of them is no file
        return False


def _require_adapter(name: str) -> None:
    try:
        there = Path(name).is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise BadRequest(
            f"--adapter {name[:100]!r} is no file; name a .safetensors that `video2lora adapter` wrote, or a"
            " LoRA."
        )


def _require_example(catalog: Catalog, option: str, name: str) -> None:
    try:
        path = Path(name)
        there, folder = path.exists(), path.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        there = folder = False
    if folder:
        raise BadRequest(f"{option} {name} is a folder; name one file in it, or a clip_id.")
    if not there and not catalog.get("clips", [name], ["clip_id"]).num_rows:
        raise BadRequest(
            f"{option} {name[:100]!r} is neither a file nor a clip_id; find ids with `video2lora search`."
        )
