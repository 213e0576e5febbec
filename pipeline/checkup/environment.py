"""Python, packages and drivers of this machine."""

import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.checkup.finding import Finding, Verdict

PROJECT = "video2lora"
# Beside the rooms in a checkout and in the images; a wheel has none.
LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
_PYTHON = (3, 11)
_NAMED = 5


def look_at_python(version: tuple[int, ...] | None = None) -> Finding:
    """Whether this is the Python that everything is tested with."""
    here = version or tuple(map(int, platform.python_version_tuple()[:2]))
    said = f"Python {'.'.join(map(str, here))}"
    if here[:2] == _PYTHON:
        return Finding("Python", Verdict.OK, said)
    return Finding(
        "Python", Verdict.PROBLEM, f"{said}, and 3.11 is needed.", "Set up with Python 3.11: `make setup`."
    )


def look_at_packages(lock: Path = LOCK, installed: Mapping[str, str] | None = None) -> Finding:
    """Whether the packages are those of the lock, or at least those that this project asks for.

    Args:
        lock: lines of name==version; where there is no such file, the project's own metadata is asked.
        installed: version by canonical name; None looks.
    """
    if installed is None:
        installed = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
    if not lock.exists():
        return _asked_for(installed)
    pinned = dict(line.strip().split("==") for line in lock.read_text().splitlines() if "==" in line)
    missing = sorted(name for name in pinned if canonicalize_name(name) not in installed)
    other = [
        f"{name} {there} (locked: {wanted})"
        for name, wanted in pinned.items()
        if (there := installed.get(canonicalize_name(name))) not in (None, wanted)
    ]
    needed = {canonicalize_name(name) for name in _requirements()}
    if lacking := [name for name in missing if canonicalize_name(name) in needed]:
        return Finding(
            "packages",
            Verdict.PROBLEM,
            f"Not installed: {_some(lacking)}.",
            "`make setup` installs the lock.",
        )
    if other or missing:
        said = "; ".join(filter(None, [_some(other), missing and f"not installed: {_some(missing)}"]))
        return Finding(
            "packages",
            Verdict.WARNING,
            f"Other than the lock: {said}.",
            "`make setup` installs the lock; results may differ without it.",
        )
    return Finding("packages", Verdict.OK, f"{len(pinned)} packages are those of the lock")


def _asked_for(installed: Mapping[str, str]) -> Finding:
    lacking = [name for name in _requirements() if canonicalize_name(name) not in installed]
    if lacking:
        return Finding(
            "packages", Verdict.PROBLEM, f"Not installed: {_some(lacking)}.", "`pip install video2lora`."
        )
    return Finding(
        "packages", Verdict.OK, "all that this project asks for are installed; there is no lock here"
    )


def _requirements() -> list[str]:
    try:
        asked = [Requirement(line) for line in requires(PROJECT) or []]
    except PackageNotFoundError:
        return []
    return [each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]


def look_at_gpus(needs_gpu: bool, wants_gpu: bool) -> Iterator[Finding]:
    """GPUs and their driver; where there are none, whether that is in the way.

    Args:
        needs_gpu: the profile cannot do without.
        wants_gpu: it is made for them, and would take very long without.
    """
    listed, driver = nvidia()
    do = "Choose a machine with a GPU, or the profile tiny; on a cluster name it: `--address HOST:PORT`."
    if not listed:
        said = "No GPU is here" if shutil.which("nvidia-smi") else "No GPU is here, nor NVIDIA's driver"
        if needs_gpu:
            yield Finding(
                "GPU", Verdict.PROBLEM, f"{said}, and the profile trains on one (train.device).", do
            )
        elif wants_gpu:
            yield Finding(
                "GPU", Verdict.WARNING, f"{said}, and the profile is made for one (train.precision).", do
            )
        else:
            yield Finding("GPU", Verdict.OK, f"{said}; the profile needs none")
        return
    import torch  # seconds; only where there is a GPU to ask for

    if not torch.cuda.is_available():
        yield Finding(
            "GPU",
            Verdict.PROBLEM,
            f"{', '.join(listed)}: torch {torch.__version__} for CUDA {torch.version.cuda} cannot use "
            f"driver {driver}.",
            f"Install a driver for CUDA {torch.version.cuda}, and `make setup` again if torch has no CUDA.",
        )
        return
    yield Finding("GPU", Verdict.OK, f"{', '.join(listed)}; driver {driver}, CUDA {torch.version.cuda}")


def nvidia() -> tuple[list[str], str]:
    """Names with memory of the GPUs that the driver knows, and the driver's version; empty where none is."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return [], ""
    rows = [
        [cell.strip() for cell in line.split(",")]
        for line in done.stdout.splitlines()
        if line.count(",") == 2
    ]
    return [f"{name} ({memory})" for name, memory, _ in rows], rows[0][2] if rows else ""


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
