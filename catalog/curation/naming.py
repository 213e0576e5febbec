"""What a category or a snapshot may be called, and the row that a new category begins with."""

from __future__ import annotations

import unicodedata
from typing import Any

from catalog.errors import BadName, UnknownCategory
from catalog.names import LONGEST, CategoryNames, normalise_label
from catalog.vocabulary import CategoryState

# Signs that turn the direction of what follows, and so let a name look like another one.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_name(text: str, what: str = "category") -> str:
    """The name as it is kept: NFC, single blanks. Any script, emoji and signs of markup are text.

    Raises:
        BadName: empty, too long, with control or turning signs, or without any letter, digit or picture.
    """
    if len(text) > 10 * LONGEST:
        raise BadName(f"A {what}'s name has at most {LONGEST} characters; {text[:30]!r}… has {len(text)}.")
    name = " ".join(unicodedata.normalize("NFC", text).split())
    wrong = [sign for sign in name if unicodedata.category(sign) in ("Cc", "Cs", "Co") or sign in _TURNING]
    if wrong:
        raise BadName(
            f"The name {name[:40]!a} holds the sign {wrong[0]!a}, which cannot be seen; leave it out."
        )
    if len(name) > LONGEST:
        raise BadName(f"A {what}'s name has at most {LONGEST} characters; {name[:30]!r}… has {len(name)}.")
    if not normalise_label(name):
        raise BadName(f"{text!r} is no name for a {what}; it needs a letter, a digit or a picture.")
    return name


def free_name(names: CategoryNames, text: str, own: str | None = None) -> str:
    """A name, checked, that no category but `own` has, in any spelling.

    Raises:
        BadName: see `checked_name`, or another category is called that.
    """
    name = checked_name(text)
    try:
        found = names.id_of(name)
    except UnknownCategory:
        return name
    if found != own:
        raise BadName(
            f"{name!r} already means the category {names.name_of(found)!r} ({found}); choose another name, "
            "or merge the two with `video2lora category merge`."
        )
    return name


def new_category(names: CategoryNames, name: str) -> dict[str, Any]:
    """The row of a new category; its id is made of its name, and no other has it.

    Raises:
        BadName: see `free_name`.
    """
    name = free_name(names, name)
    return fresh_category(normalise_label(name) or name, name)


def fresh_category(key: str, name: str) -> dict[str, Any]:
    """The row of a category that nothing has been decided about."""
    return {"category_id": key, "name": name, "aliases": [], "state": CategoryState.ACTIVE}
