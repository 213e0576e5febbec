"""Finding clips by words, by a vector and by a filter. Results are right from the moment a row is written."""

from catalog.search.adapter import search_adapter
from catalog.search.facets import FACETS, facets
from catalog.search.filters import clip_filter
from catalog.search.fused import search_words
from catalog.search.text import INDEX_ROWS, search_text
from catalog.search.vector import search_vector

__all__ = [
    "FACETS",
    "INDEX_ROWS",
    "clip_filter",
    "facets",
    "search_adapter",
    "search_text",
    "search_vector",
    "search_words",
]
