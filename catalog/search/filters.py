"""Filters over clips, as people type them."""

from lancedb.expr import Expr

from catalog.names import CategoryNames
from catalog.predicates import Synonym, parse
from catalog.store import Catalog


def clip_filter(catalog: Catalog, text: str) -> Expr:
    """The filter language over clips, in which `category` also takes names and aliases.

    Raises:
        BadFilter: what is wrong and where, with the nearest column or category.
    """
    synonym = Synonym("category_id", CategoryNames.load(catalog).ids_named)
    return parse(text, catalog.schema("clips"), {"category": synonym})
