"""What words mean for clips' vectors."""

import numpy as np
import pytest

from pipeline.embedding.clip_weights import find_clip
from pipeline.embedding.pocket import SHIPPED
from pipeline.embedding.words import FILE, WordsMissing, load_words


def test_the_words_that_ship_are_of_the_vectors_that_ship():
    words = load_words(SHIPPED / FILE, find_clip("pocket", "pocket").embedder_id(8))
    asked = words.ask(np.random.default_rng(0).normal(size=(3, 384)).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-5)
    assert len({row.tobytes() for row in asked}) == 3


def test_words_of_other_vectors_and_broken_ones_are_one_sentence(tmp_path):
    with pytest.raises(WordsMissing, match="not of pocket-other"):
        load_words(SHIPPED / FILE, "pocket-other")
    (tmp_path / FILE).write_bytes(b"none")
    with pytest.raises(WordsMissing, match="make pocket"):
        load_words(tmp_path / FILE, "pocket-other")
