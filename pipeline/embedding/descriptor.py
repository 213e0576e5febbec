"""A clip's vector, with appearance and change kept apart: CLIP vectors of its frames, and what its pixels do.

An effect is change over time, and the mean of the frames forgets it. Five parts stand one after the other:

    appearance  [D]    unit mean of the frames                                 what is seen
    change      [D]    late third minus early third                            from what to what
    course      [D]    how the change of the second half differs from the first's    in what order
    onset       [8]    share of all movement in each eighth of the clip        when
    pixels      [192]  colours, movement and texture as they change, measured (`change.py`, `directions.py`)

Each part is at most of length 1 and is weighted (`WEIGHTS`), so that the cosine of two whole vectors is the
weighted sum of their parts' cosines, and a query may ask for some parts and leave others open by zeros: a
text that is only known to be like frames asks for appearance and change alone. One column, one index, every
kind of query.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.embedding.directions import SIZE

# Part of an embedder's fingerprint: vectors of two recipes are never compared.
RECIPE = 3
ONSET = 8
# Squared weights of what is learned from frames, in a cosine of that alone.
LEARNED = {"appearance": 0.3, "change": 0.35, "course": 0.2, "onset": 0.15}
# Share of the pixels in a cosine of whole vectors.
PIXELS = 0.8
PARTS = (*LEARNED, "pixels")
# Those that say what happens, on whatever subject.
EFFECT = PARTS[1:]
# A change of this length between unit vectors counts half; what is less is noise of the codec.
_QUIET = 0.1


def descriptor_size(dim: int) -> int:
    """Length of the clip vectors of a model whose frame vectors have length `dim`."""
    return 3 * dim + ONSET + SIZE


def describe(frames: Tensor, pixels: Tensor) -> Tensor:
    """Clip vectors [n, 3 D + 200] of unit length, of frame vectors [n, T, D] in order, T at least 1, and of
    what was measured on the clips' pixels [n, 192]."""
    learned = describe_frames(frames) * (1 - PIXELS) ** 0.5
    whole = torch.cat([learned, pixels.float() * PIXELS**0.5], dim=-1)
    return torch.nn.functional.normalize(whole, dim=-1)


def describe_frames(frames: Tensor) -> Tensor:
    """All but the pixels, [n, 3 D + 8] of unit length: what a model of frames is taught with."""
    frames = torch.nn.functional.normalize(frames.float(), dim=-1)
    count = frames.shape[1]
    third = max(1, count // 3)
    early, late = frames[:, :third].mean(1), frames[:, -third:].mean(1)
    start = (count - third) // 2
    middle = frames[:, start : start + third].mean(1)
    steps = (frames[:, 1:] - frames[:, :-1]).norm(dim=-1)
    parts = {
        "appearance": torch.nn.functional.normalize(frames.mean(1), dim=-1),
        "change": _softly(late - early),
        "course": _softly((late - middle) - (middle - early)),
        "onset": _softly(_shares(steps)),
    }
    whole = torch.cat([parts[name] * weight**0.5 for name, weight in LEARNED.items()], dim=-1)
    return torch.nn.functional.normalize(whole, dim=-1)


def ask_in_words(texts: Tensor) -> Tensor:
    """Queries [n, 3 D + 200] for clips that show or come to show what texts say, of text vectors [n, D] of
    which nothing is known but that they are comparable with frames'."""
    learned = ask_frames(texts)
    return torch.cat([learned, learned.new_zeros(len(texts), SIZE)], dim=-1)


def ask_frames(texts: Tensor) -> Tensor:
    """Queries [n, 3 D + 8] for `describe_frames`, of text vectors [n, D]."""
    texts = torch.nn.functional.normalize(texts.float(), dim=-1)
    asked = [texts * LEARNED[name] ** 0.5 for name in ("appearance", "change")]
    silent = texts.new_zeros(len(texts), texts.shape[1] + ONSET)
    return torch.nn.functional.normalize(torch.cat([*asked, silent], dim=-1), dim=-1)


def only(vector: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """The vector(s) [..., 3 D + 200] with all but these parts left open; of length 1 where anything is left.

    `only(v, EFFECT)` asks for the same effect on whatever subject.
    """
    kept = _kept(vector, parts)
    return kept / np.maximum(np.linalg.norm(kept, axis=-1, keepdims=True), 1e-12)


def share(vector: np.ndarray, parts: Sequence[str]) -> float:
    """Which part of the length of a vector [3 D + 200] these parts have, from 0 to 1."""
    return float(np.linalg.norm(_kept(vector, parts)) / max(1e-12, np.linalg.norm(vector)))


def _kept(vector: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    dim = (vector.shape[-1] - ONSET - SIZE) // 3
    ends = np.cumsum([dim, dim, dim, ONSET, SIZE])
    kept = np.zeros_like(vector)
    for name, begin, end in zip(PARTS, [0, *ends], ends, strict=False):
        if name in parts:
            kept[..., begin:end] = vector[..., begin:end]
    return kept


def _softly(change: Tensor) -> Tensor:
    """At most of length 1, and shorter where there is hardly any change."""
    return change / (change.square().sum(-1, keepdim=True) + _QUIET**2).sqrt()


def _shares(steps: Tensor) -> Tensor:
    """How much more than its eighth of all movement each eighth of a clip has [n, 8], of steps [n, T - 1]."""
    if steps.shape[1] == 0:
        return steps.new_zeros(len(steps), ONSET)
    # The way gone by, read off at eighths: the same for any number of frames.
    gone = torch.cat([steps.new_zeros(len(steps), 1), steps.cumsum(1)], dim=1)
    at = torch.linspace(0, steps.shape[1], ONSET + 1, device=steps.device)
    left = at.floor().long().clamp(max=steps.shape[1] - 1)
    share = at - left
    read = gone[:, left] * (1 - share) + gone[:, left + 1] * share
    total = gone[:, -1:]
    parts = (read[:, 1:] - read[:, :-1]) / (total + _QUIET)
    return parts - parts.mean(1, keepdim=True)
