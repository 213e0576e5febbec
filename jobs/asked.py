"""What `generate` and `adapter` are asked for, looked at before anything loads."""

from pathlib import Path
from typing import NamedTuple

from catalog.store import Catalog
from jobs.errors import JobError
from training.files import lora_beside


class Kind(NamedTuple):
    """A kind of file that is written."""

    suffix: str
    name: str
    example: str


VIDEO = Kind(".mp4", "an mp4", "clip")
# Never a pickle, which may run whatever it likes where it is opened.
ADAPTER = Kind(".safetensors", "a safetensors file", "adapter")


class BadRequest(JobError):
    """A clip that cannot be generated as asked."""


def check_request(
    catalog: Catalog, reference: str, first_frame: str, output: Path | None, force: bool
) -> None:
    """Refuse inputs that are neither a file nor a clip, and an output as `check_output` does.

    Raises:
        BadRequest: see above.
    """
    for option, name in (("--reference", reference), ("--first-frame", first_frame)):
        _require_example(catalog, option, name)
    if output is not None:
        check_output(output, [Path(reference), Path(first_frame)], force)


def check_adapter_request(catalog: Catalog, references: list[str], output: Path, force: bool) -> None:
    """The same of references whose adapter is asked for.

    Raises:
        BadRequest: see above.
    """
    for name in references:
        _require_example(catalog, "The reference", name)
    check_output(output, [Path(name) for name in references], force, ADAPTER)


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
