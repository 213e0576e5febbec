"""How well texts answer a query, by the words they share."""

import math
from collections import Counter
from collections.abc import Sequence

# BM25's usual constants: how soon repetition stops counting, how much a long text is discounted.
_SATURATION, _LENGTH = 1.2, 0.75


def bm25(query: Sequence[str], texts: Sequence[Sequence[str]]) -> list[float]:
    """How well each text answers the query; 0 where they share no word.

    Args:
        query: words asked for.
        texts: words of each text.
    """
    wanted = set(query)
    counts = [{word: n for word in wanted if (n := text.count(word))} for text in texts]
    holding = Counter(word for count in counts for word in count)
    average = sum(map(len, texts)) / max(1, len(texts)) or 1.0
    rarity = {word: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for word, n in holding.items()}
    scores = []
    for text, count in zip(texts, counts, strict=True):
        damping = _SATURATION * (1 - _LENGTH + _LENGTH * len(text) / average)
        scores.append(sum(rarity[w] * n * (_SATURATION + 1) / (n + damping) for w, n in count.items()))
    return scores
