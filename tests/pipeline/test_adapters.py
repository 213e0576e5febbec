"""What speaks against a reference is said."""

import numpy as np

from pipeline.adapters import Reference


def test_a_reference_without_an_effect_is_told():
    moving = np.random.default_rng(0).integers(0, 255, (49, 16, 24, 3)).astype(np.uint8)
    assert Reference("a", moving).notes() == []
    assert "black" in Reference("a", moving // 128).notes()[0]
    assert "stands still" in Reference("a", np.repeat(moving[:1], 49, axis=0)).notes()[0]
    few = moving[np.arange(49) // 10]
    assert "5 different frames" in Reference("a", few).notes()[0]
