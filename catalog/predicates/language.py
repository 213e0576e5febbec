"""The grammar of filters: recursive descent from text to an expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
from lancedb.expr import Expr, col

from catalog.errors import BadFilter
from catalog.hints import nearest
from catalog.predicates.columns import COMPARISONS, Column, Synonym
from catalog.predicates.null import is_null, not_null
from catalog.predicates.tokens import MAX_LENGTH, Token, quote, tokens_of

MAX_DEPTH = 40  # parentheses and nots inside one another


def parse(text: str, schema: pa.Schema, synonyms: Mapping[str, Synonym] | None = None) -> Expr:
    """Read a filter.

    Args:
        text: what was typed.
        schema: columns that may be named.
        synonyms: further names for text columns.

    Raises:
        BadFilter: says what is wrong at which position.
    """
    if len(text) > MAX_LENGTH:
        raise BadFilter(f"The filter has {len(text)} characters; at most {MAX_LENGTH} are read.", MAX_LENGTH)
    return _Parser(text, schema, synonyms or {}).filter()


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str, schema: pa.Schema, synonyms: Mapping[str, Synonym]) -> None:
        self.schema = schema
        self.synonyms = synonyms
        self.tokens = tokens_of(text)
        self.next = 0
        self.depth = 0

    def filter(self) -> Expr:
        result = self._any()
        if self._token.kind != "end":
            raise self._unexpected("`and`, `or` or the end")
        return result

    @property
    def _token(self) -> Token:
        return self.tokens[self.next]

    def _take(self) -> Token:
        token = self._token
        self.next += 1
        return token

    def _accept(self, value: str) -> bool:
        # Quoted 'and' and '(' are texts, not words and signs.
        found = self._token.kind in ("word", "sign") and self._token.value == value
        self.next += found
        return found

    def _expect(self, value: str) -> None:
        if not self._accept(value):
            raise self._unexpected(f"`{value}`")

    def _unexpected(self, wanted: str) -> BadFilter:
        token = self._token
        found = "the end" if token.kind == "end" else repr(token.value[:40])
        return BadFilter(f"Filter, position {token.at}: expected {wanted}, found {found}.", token.at)

    def _any(self) -> Expr:
        terms = [self._all()]
        while self._accept("or"):
            terms.append(self._all())
        return _balanced(terms, Expr.or_)

    def _all(self) -> Expr:
        terms = [self._term()]
        while self._accept("and"):
            terms.append(self._term())
        return _balanced(terms, Expr.and_)

    def _term(self) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            at = self._token.at
            raise BadFilter(f"Filter, position {at}: nested more than {MAX_DEPTH} deep; simplify it.", at)
        if self._accept("not"):
            result = ~self._term()
        elif self._accept("("):
            result = self._any()
            self._expect(")")
        else:
            result = self._test()
        self.depth -= 1
        return result

    def _test(self) -> Expr:
        if self._token.kind != "name":
            raise self._unexpected("a column name, `not` or `(`")
        name = self._take()
        synonym = self.synonyms.get(name.value)
        if synonym is None and name.value not in self.schema.names:
            known = [*self.synonyms, *self.schema.names]
            raise BadFilter(
                f"Filter, position {name.at}: no column {name.value!r}{nearest(name.value, known)}.", name.at
            )
        column = Column(self.schema.field(synonym.column if synonym else name.value), name, synonym)
        if self._accept("is"):
            wanted = not self._accept("not")
            self._expect("null")
            return is_null(column.field.name) if wanted else not_null(column.field.name)
        if self._token.kind == "sign" and self._token.value in COMPARISONS:
            return column.compare(self._take(), self._value())
        negated = self._accept("not")
        if self._accept("in"):
            found = column.one_of(self._list())
        elif self._accept("contains"):
            found = column.contains(self._value())
        elif column.kind == "flag" and not negated:
            return col(column.field.name)
        else:
            raise self._unexpected("a comparison, `in`, `contains` or `is null`")
        return ~found if negated else found

    def _list(self) -> list[Token]:
        self._expect("(")
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._expect(")")
        return values

    def _value(self) -> Token:
        token = self._token
        if token.kind == "word" and token.value == "null":
            raise BadFilter(f"Filter, position {token.at}: nothing equals null; write `is null`.", token.at)
        if token.kind in ("text", "number") or token.value in ("true", "false"):
            return self._take()
        if token.kind == "name":
            hint = quote(token.value[:40])
            raise BadFilter(f"Filter, position {token.at}: a text needs quotes, as in {hint}.", token.at)
        raise self._unexpected("a text in quotes, a number, `true` or `false`")


def _balanced(terms: list[Expr], join: Callable[[Expr, Expr], Expr]) -> Expr:
    """Join many terms as a shallow tree: a thousand nested ones would overflow the engine's stack."""
    while len(terms) > 1:
        pairs = [join(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) & ~1 :]
    return terms[0]
