"""From words to a whole clip descriptor: a text as the vector that clips have in which it comes true.

A small network over the text tower's vectors, fitted on many texts about the taught effects and on their
clips (`pipeline.pocket.words`). It belongs to one text tower and one kind of clip vectors, and says so.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from pipeline.errors import PipelineError

FILE = "words.safetensors"


class WordsMissing(PipelineError):
    """What maps words to clips' vectors is broken, or belongs to other vectors."""


@dataclass(frozen=True)
class Words:
    """Fitted once, fp32; W is the length of a text's vector, D that of a clip's.

    Attributes:
        said: mean of the text vectors that it was fitted on [W].
        straight: from what differs from it, a constant 1 behind, to K directions [W + 1, K].
        inner, outer: a hidden layer beside it, [W + 1, H] and [H, K].
        basis: the K directions in which the taught effects' clips differ [K, D].
    """

    said: np.ndarray
    straight: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    basis: np.ndarray

    def ask(self, texts: np.ndarray) -> np.ndarray:
        """Questions fp32 [n, D] of length 1, of text vectors [n, W]."""
        differs = texts - self.said
        differs = differs / np.maximum(np.linalg.norm(differs, axis=1, keepdims=True), 1e-12)
        seen = np.hstack([differs, np.ones((len(differs), 1), np.float32)]).astype(np.float32)
        hidden = torch.nn.functional.gelu(torch.from_numpy(seen @ self.inner)).numpy()
        asked = (seen @ self.straight + hidden @ self.outer) @ self.basis
        return asked / np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-12)


def load_words(file: Path, embedder_id: str) -> Words:
    """What lies in a file.

    Args:
        embedder_id: of the clips' vectors that are asked.

    Raises:
        WordsMissing: it is broken, or was fitted on other vectors.
    """
    try:
        with safe_open(file, "np") as held:
            of = (held.metadata() or {}).get("embedder")
            words = Words(**{name: held.get_tensor(name).astype(np.float32) for name in held.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, TypeError) as error:
        raise WordsMissing(
            f"{file} cannot be read ({error}): take it from the repository again, "
            "or make it with `make pocket`."
        ) from error
    if of != embedder_id:
        raise WordsMissing(
            f"{file} is of the vectors of {of}, not of {embedder_id}: make both anew with `make pocket`, or "
            "take them from the repository again."
        )
    return words
