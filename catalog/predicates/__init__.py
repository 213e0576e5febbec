"""The filter language that people type, `category = 'melt' and motion > 0.2`: to an expression, never to SQL.

    filter     = and-terms joined by `or`;  and-terms = terms joined by `and`
    term       = `not` term | `(` filter `)` | column test
    test       = (`=` `!=` `<` `<=` `>` `>=`) value | [`not`] `in` (value, …) | [`not`] `contains` text
               | `is` [`not`] `null` | nothing, for a column of true and false
    value      = 'text' or "text" (the quote doubled inside), a number, `true`, `false`; a time is written as
                 text: '2026-11-20' or '2026-11-20T12:00:00+01:00' (UTC where no zone is given)

As in SQL a null matches no comparison, `!=` included. `contains` does not look at case, `=` does.
"""

from catalog.predicates.columns import Synonym
from catalog.predicates.language import MAX_DEPTH, parse
from catalog.predicates.null import is_null, not_null
from catalog.predicates.tokens import columns_named, quote

__all__ = ["MAX_DEPTH", "Synonym", "columns_named", "is_null", "not_null", "parse", "quote"]
