"""The text side of small backbones: a tokenizer of T5's kind that knows some words whole."""

import math
import string
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from transformers import T5Tokenizer
from transformers.utils import logging as transformers_logging

_TEXT = """
a an the of in on at to and or with without over under behind before beside from into through
against is are it its this that one two three four red green blue yellow orange purple white black
grey pink brown dark light bright small large round square soft hard wooden metal glass stone
plastic rubber ball cube box cup bottle chair table lamp book car tree flower leaf rock house tower
bridge bird fish cat dog horse person man woman child face hand robot star heart ring cone cylinder
pyramid sphere torus sky sea water fire smoke cloud sand grass snow wall floor field street room
forest city background foreground pattern texture checkered striped dotted gradient noise centre
left right top bottom slowly quickly stands lies hangs floats moves turns melts grows shrinks camera
scene video view close still
"""
WORDS = _TEXT.split()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' bars per shard: whoever loads or saves shows its own progress."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def word_tokenizer(words: Iterable[str]) -> T5Tokenizer:
    """A unigram tokenizer of T5's kind: `words` whole, everything else by character."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -6.0)]
    pieces += [(f"▁{word}", -6.0 - math.log(1 + rank)) for rank, word in enumerate(dict.fromkeys(words))]
    pieces += [(character, -14.0) for character in string.ascii_letters + string.digits + string.punctuation]
    pieces += [(ending, -9.0) for ending in ("ing", "ed", "er", "es", "ly", "tion")]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=226)
