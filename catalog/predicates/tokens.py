"""The words and signs of a filter."""

import re
from typing import NamedTuple

from catalog.errors import BadFilter

MAX_LENGTH = 10_000  # characters
_WORDS = frozenset({"and", "or", "not", "in", "is", "null", "contains", "true", "false"})
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>'(?:[^']|'')*' | "(?:[^"]|"")*")
      | (?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.])
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>==|=|!=|<>|<=|>=|<|>|\(|\)|,)""",
    re.VERBOSE,
)


class Token(NamedTuple):
    kind: str  # text | number | name | word | sign | end
    value: str
    at: int


def quote(text: str) -> str:
    """The text as a value of the filter language."""
    return "'" + text.replace("'", "''") + "'"


def columns_named(text: str) -> set[str]:
    """The columns that a filter names.

    Raises:
        BadFilter: a sign that no filter has.
    """
    return {token.value for token in tokens_of(text) if token.kind == "name"}


def tokens_of(text: str) -> list[Token]:
    found: list[Token] = []
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
        kind, value = match.lastgroup or "", match.group()
        if kind == "text":
            value = value[1:-1].replace(value[0] * 2, value[0])
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                raise BadFilter(f"Filter, position {at}: the text is not valid Unicode.", at)
        elif kind == "name" and value.lower() in _WORDS:
            kind, value = "word", value.lower()
        if kind != "space":
            found.append(Token(kind, value, at))
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found
