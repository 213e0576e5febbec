"""What `generate` is asked for, checked before anything loads: inputs exist, the output destroys nothing."""

from pathlib import Path

from catalog.store import Catalog
from jobs.errors import JobError


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


def check_output(output: Path, inputs: list[Path], force: bool) -> None:
    """Refuse an output that is no mp4 file, one of the inputs, or there already.

    Args:
        force: a file that is there may be replaced; an input never.

    Raises:
        BadRequest: see above.
    """
    if output.is_dir():
        raise BadRequest(f"--output {output} is a folder; name a file in it, as in -o {output / 'clip.mp4'}.")
    if output.suffix.lower() != ".mp4":
        raise BadRequest(
            f"--output {output} does not end in .mp4, and an mp4 is what is written; "
            f"-o {output.with_suffix('.mp4')}."
        )
    if any(output.exists() and each.exists() and output.samefile(each) for each in inputs):
        raise BadRequest(
            f"--output {output} is one of the inputs, which stay as they are; name another file."
        )
    if output.exists() and not force:
        raise BadRequest(f"{output} is there already. --force replaces it; -o names another file.")


def _require_example(catalog: Catalog, option: str, name: str) -> None:
    path = Path(name)
    if path.is_dir():
        raise BadRequest(f"{option} {name} is a folder; name one file in it, or a clip_id.")
    if not path.exists() and not catalog.get("clips", [name], ["clip_id"]).num_rows:
        raise BadRequest(
            f"{option} {name!r} is neither a file nor a clip_id; find ids with `video2lora search`."
        )
