"""The filter language that people type, `category = 'melt' and motion > 0.2`: to an expression, never to SQL.

    filter     = and-terms joined by `or`;  and-terms = terms joined by `and`
    term       = `not` term | `(` filter `)` | column test
    test       = (`=` `!=` `<` `<=` `>` `>=`) value | [`not`] `in` (value, …) | [`not`] `contains` text
               | `is` [`not`] `null` | nothing, for a column of true and false
    value      = 'text' or "text" (the quote doubled inside), a number, `true`, `false`; a time is written as
                 text: '2026-11-20' or '2026-11-20T12:00:00+01:00' (UTC where no zone is given)

As in SQL a null matches no comparison, `!=` included. `contains` does not look at case, `=` does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa
from lancedb.expr import Expr, col, func, lit

from catalog.errors import BadFilter
from catalog.hints import nearest

MAX_LENGTH = 10_000  # characters
MAX_DEPTH = 40  # parentheses and nots inside one another

_WORDS = frozenset({"and", "or", "not", "in", "is", "null", "contains", "true", "false"})
_COMPARISONS: dict[str, Callable[[Expr, object], Expr]] = {
    "=": Expr.eq,
    "==": Expr.eq,
    "!=": Expr.ne,
    "<>": Expr.ne,
    "<": Expr.lt,
    "<=": Expr.lte,
    ">": Expr.gt,
    ">=": Expr.gte,
}
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>'(?:[^']|'')*' | "(?:[^"]|"")*")
      | (?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.])
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>==|=|!=|<>|<=|>=|<|>|\(|\)|,)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Synonym:
    """A name that people type for a text column, and what its values stand for there.

    Args:
        column: the column that is meant.
        values: the column's values that one typed text stands for; raises `KeyError` with a hint when none.
    """

    column: str
    values: Callable[[str], list[str]]


def is_null(column: str) -> Expr:
    """Rows without a value in `column`, of any type; `lancedb.expr` has no IS NULL of its own.

    `column = column` is true or, for a null, null. `concat` takes a null for nothing, so that the comparison
    as text is empty for a null and for nothing else.
    """
    same = (col(column) == col(column)).cast(pa.string())
    return func("concat", same, lit("")) == lit("")


def not_null(column: str) -> Expr:
    """Rows with a value in `column`."""
    return ~is_null(column)


def quote(text: str) -> str:
    """The text as a value of the filter language."""
    return "'" + text.replace("'", "''") + "'"


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


class _Token(NamedTuple):
    kind: str  # text | number | name | word | sign | end
    value: str
    at: int


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str, schema: pa.Schema, synonyms: Mapping[str, Synonym]) -> None:
        self.schema = schema
        self.synonyms = synonyms
        self.tokens = _tokens(text)
        self.next = 0
        self.depth = 0

    def filter(self) -> Expr:
        result = self._any()
        if self._token.kind != "end":
            raise self._unexpected("`and`, `or` or the end")
        return result

    @property
    def _token(self) -> _Token:
        return self.tokens[self.next]

    def _take(self) -> _Token:
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
        column = _Column(self.schema.field(synonym.column if synonym else name.value), name, synonym)
        if self._accept("is"):
            wanted = not self._accept("not")
            self._expect("null")
            return is_null(column.field.name) if wanted else not_null(column.field.name)
        if self._token.kind == "sign" and self._token.value in _COMPARISONS:
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

    def _list(self) -> list[_Token]:
        self._expect("(")
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._expect(")")
        return values

    def _value(self) -> _Token:
        token = self._token
        if token.kind == "word" and token.value == "null":
            raise BadFilter(f"Filter, position {token.at}: nothing equals null; write `is null`.", token.at)
        if token.kind in ("text", "number") or token.value in ("true", "false"):
            return self._take()
        if token.kind == "name":
            hint = quote(token.value[:40])
            raise BadFilter(f"Filter, position {token.at}: a text needs quotes, as in {hint}.", token.at)
        raise self._unexpected("a text in quotes, a number, `true` or `false`")


class _Column:
    """A column that a filter names, and the tests that its type allows."""

    def __init__(self, field: pa.Field, name: _Token, synonym: Synonym | None) -> None:
        self.field = field
        self.name = name
        self.synonym = synonym
        self.kind = _kind_of(field.type)

    def compare(self, sign: _Token, value: _Token) -> Expr:
        equal = _COMPARISONS[sign.value] is Expr.eq
        if self.synonym:
            if not equal and _COMPARISONS[sign.value] is not Expr.ne:
                raise self._refuse(f"takes no `{sign.value}`", sign.at)
            found = self.one_of([value])
            return found if equal else ~found
        if self.kind == "flag" and not equal and _COMPARISONS[sign.value] is not Expr.ne:
            raise self._refuse(f"is true or false and takes no `{sign.value}`", sign.at)
        return _COMPARISONS[sign.value](col(self.field.name), self._literal(value))

    def one_of(self, values: list[_Token]) -> Expr:
        literals = [self._literal(value) for value in values]
        if self.synonym:
            literals = [meant for literal, value in zip(literals, values, strict=True)
                        for meant in self._meant(literal, value.at)]  # fmt: skip
        return col(self.field.name).isin(literals)

    def contains(self, value: _Token) -> Expr:
        if self.kind != "text":
            raise self._refuse("is not a text, so it contains nothing", self.name.at)
        # Both sides are lowered by the engine: Python's rules for ẞ or İ are not quite the same.
        return col(self.field.name).lower().contains(lit(self._literal(value)).lower())

    def _meant(self, literal: str, at: int) -> list[str]:
        try:
            return self.synonym.values(literal)
        except KeyError as error:
            raise BadFilter(
                f"Filter, position {at}: no {self.name.value} named {literal!r}{error.args[0]}.", at
            ) from error

    def _literal(self, token: _Token) -> str | int | float | bool | datetime:
        wanted = {"text": "text", "time": "text", "number": "number", "flag": "word"}.get(self.kind)
        if wanted is None:
            raise self._refuse("can only be tested with `is null`", token.at)
        if token.kind != wanted:
            need = {
                "text": "a text in quotes",
                "time": "a time in quotes",
                "number": "a number",
                "flag": "true or false",
            }
            raise self._refuse(f"is compared with {need[self.kind]}", token.at)
        if self.kind == "flag":
            return token.value == "true"
        if self.kind == "number":
            return self._number(token)
        return self._time(token) if self.kind == "time" else token.value

    def _number(self, token: _Token) -> int | float:
        value = float(token.value)
        if not math.isfinite(value):
            raise self._refuse("cannot be compared with a number that large", token.at)
        # Whole numbers beyond 64 bits compare as floats.
        return int(token.value) if token.value.lstrip("+-").isdigit() and abs(value) < 2**62 else value

    def _time(self, token: _Token) -> datetime:
        try:
            moment = datetime.fromisoformat(token.value)
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self._refuse("is a time; write it like '2026-11-20'", token.at) from error

    def _refuse(self, reason: str, at: int) -> BadFilter:
        return BadFilter(f"Filter, position {at}: column {self.name.value!r} {reason}.", at)


def _kind_of(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_integer(kind) or types.is_floating(kind):
        return "number"
    if types.is_boolean(kind):
        return "flag"
    return "time" if types.is_timestamp(kind) else "other"


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = (
                "a quote without its end"
                if text[at] in "'\""
                else f"{text[at : at + 10]!r} means nothing here"
            )
            raise BadFilter(f"Filter, position {at}: {what}.", at)
        kind, value = match.lastgroup, match.group()
        if kind == "text":
            value = value[1:-1].replace(value[0] * 2, value[0])
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                raise BadFilter(f"Filter, position {at}: the text is not valid Unicode.", at)
        elif kind == "name" and value.lower() in _WORDS:
            kind, value = "word", value.lower()
        if kind != "space":
            found.append(_Token(kind, value, at))
        at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


def _balanced(terms: list[Expr], join: Callable[[Expr, Expr], Expr]) -> Expr:
    """Join many terms as a shallow tree: a thousand nested ones would overflow the engine's stack."""
    while len(terms) > 1:
        pairs = [join(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) & ~1 :]
    return terms[0]
