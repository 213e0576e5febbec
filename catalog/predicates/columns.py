"""A column that a filter names, and the tests that its type allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pyarrow as pa
from lancedb.expr import Expr, col, lit

from catalog.errors import BadFilter
from catalog.predicates.tokens import Token

COMPARISONS: dict[str, Callable[[Expr, Any], Expr]] = {
    "=": Expr.eq,
    "==": Expr.eq,
    "!=": Expr.ne,
    "<>": Expr.ne,
    "<": Expr.lt,
    "<=": Expr.lte,
    ">": Expr.gt,
    ">=": Expr.gte,
}


Literal: TypeAlias = str | int | float | bool | datetime


@dataclass(frozen=True)
class Synonym:
    """A name that people type for a text column, and what its values stand for there.

    Args:
        column: the column that is meant.
        values: the column's values that one typed text stands for; raises `KeyError` with a hint when none.
    """

    column: str
    values: Callable[[str], list[str]]


class Column:
    """A column that a filter names, and the tests that its type allows."""

    def __init__(self, field: pa.Field, name: Token, synonym: Synonym | None) -> None:
        self.field = field
        self.name = name
        self.synonym = synonym
        self.kind = _kind_of(field.type)

    def compare(self, sign: Token, value: Token) -> Expr:
        equal = COMPARISONS[sign.value] is Expr.eq
        if self.synonym:
            if not equal and COMPARISONS[sign.value] is not Expr.ne:
                raise self._refuse(f"takes no `{sign.value}`", sign.at)
            found = self.one_of([value])
            return found if equal else ~found
        if self.kind == "flag" and not equal and COMPARISONS[sign.value] is not Expr.ne:
            raise self._refuse(f"is true or false and takes no `{sign.value}`", sign.at)
        literal = self._literal(value)
        return COMPARISONS[sign.value](self._beside([literal]), literal)

    def one_of(self, values: list[Token]) -> Expr:
        if self.synonym is None:
            literals = [self._literal(value) for value in values]
            return self._beside(literals).isin(literals)
        meant = [one for value in values for one in self._meant(self.synonym, value)]
        return col(self.field.name).isin(meant)

    def contains(self, value: Token) -> Expr:
        if self.kind != "text":
            raise self._refuse("is not a text, so it contains nothing", self.name.at)
        # Both sides are lowered by the engine: Python's rules for ẞ or İ are not quite the same.
        return col(self.field.name).lower().contains(lit(self._literal(value)).lower())

    def _beside(self, literals: Sequence[Literal]) -> Expr:
        """The column as it can be compared with values: Lance compares no whole numbers with others."""
        column = col(self.field.name)
        whole = pa.types.is_integer(self.field.type)
        return column.cast(pa.float64()) if whole and any(isinstance(v, float) for v in literals) else column

    def _meant(self, synonym: Synonym, value: Token) -> list[str]:
        typed = str(self._literal(value))
        try:
            return synonym.values(typed)
        except KeyError as error:
            raise BadFilter(
                f"Filter, position {value.at}: no {self.name.value} named {typed[:80]!r}{error.args[0]}.",
                value.at,
            ) from error

    def _literal(self, token: Token) -> Literal:
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

    def _number(self, token: Token) -> int | float:
        value = float(token.value)
        if not math.isfinite(value):
            raise self._refuse("cannot be compared with a number that large", token.at)
        # Whole numbers beyond 64 bits compare as floats.
        return int(token.value) if token.value.lstrip("+-").isdigit() and abs(value) < 2**62 else value

    def _time(self, token: Token) -> datetime:
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
