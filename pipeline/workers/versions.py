"""Which versions a machine has of what tensors, tables and files pass through from one machine to another."""

import platform
from importlib.metadata import PackageNotFoundError, version

# Other versions of these are other results, or none.
PACKAGES = (
    "ray",
    "torch",
    "numpy",
    "pyarrow",
    "lancedb",
    "pylance",
    "av",
    "diffusers",
    "transformers",
    "deepspeed",
)


def own_versions() -> dict[str, str]:
    """Of Python and of `PACKAGES`, by name, on the machine that asks; "none" of what is not installed."""
    versions = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "none"
    return versions
