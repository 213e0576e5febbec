"""CLIP similarities: of a clip to its reference, and to its prompt."""

import torch.nn.functional as F
from torch import Tensor


def to_reference(clip: Tensor, reference: Tensor) -> float:
    """CLIP-I: the cosine of the mean unit vectors of two clips' frames, given as [n, D] and [m, D]."""
    means = [F.normalize(each.float(), dim=-1).mean(dim=0) for each in (clip, reference)]
    return float(F.cosine_similarity(*means, dim=0))


def to_prompt(clip: Tensor, prompt: Tensor) -> float:
    """CLIPSIM: the mean over frames [n, D] of their cosine with a text's vector [D]."""
    return float(F.cosine_similarity(clip.float(), prompt.float()[None], dim=-1).mean())
