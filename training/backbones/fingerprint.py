"""Fingerprints of model folders: which bytes encoded this?"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from training.backbones.layout import files_read, read_json
from training.errors import WeightsUnreachable

# Up to this size a file is hashed whole; a larger one by its header, size and samples.
WHOLE = 64 * 2**20
SAMPLES = 64
SAMPLE_BYTES = 2**20
# What a library writes into a configuration about itself says nothing about the model.
_VOLATILE = (
    "_diffusers_version",
    "_name_or_path",
    "transformers_version",
    "_commit_hash",
    "torch_dtype",
    "dtype",
)


def fingerprint(folders: Iterable[Path], facts: dict) -> str:
    """SHA-256 (hex) of what loading reads of a backbone's folders, and of `facts` (anything JSON can hold).

    JSON files count by their content without the versions of libraries, weights by `file_digest`.

    Raises:
        WeightsUnreachable: a file is missing, or is no JSON where it should be.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for folder in folders:
        for path in files_read(folder):
            if not path.is_file():
                raise WeightsUnreachable(f"{path} is missing: the backbone beside it cannot be named.")
            digest.update(f"\n{folder.name}/{path.name}\n".encode())
            digest.update(_json_digest(path) if path.suffix == ".json" else file_digest(path))
    return digest.hexdigest()


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file; of one above 64 MiB: of its size, its first MiB (the header) and 64 samples.

    Reading 10 GB to name an encoder would cost more than encoding a small catalogue; weights that differ,
    differ nearly everywhere.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            while block := file.read(SAMPLE_BYTES):
                digest.update(block)
            return digest.digest()
        for sample in range(SAMPLES + 1):
            file.seek((size - SAMPLE_BYTES) * sample // SAMPLES)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.digest()


def _json_digest(path: Path) -> bytes:
    content = {key: value for key, value in read_json(path).items() if key not in _VOLATILE}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
