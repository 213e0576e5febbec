"""`video2lora settings`: every key of a profile, its value, what it may be, and what it is for."""

import dataclasses
import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from jobs.console import out
from jobs.errors import JobError
from jobs.profile import Profile
from jobs.workspace import Workspace


class UnknownSetting(JobError):
    """No key of a profile begins like this."""


@dataclass(frozen=True)
class Setting:
    """One value of a profile: `key` as --set takes it, `value` as it is written there."""

    key: str
    value: str
    about: str


def list_settings(profile: Profile) -> list[Setting]:
    """Every single value of a profile, in the order of its sections."""
    return list(_walk("", profile))


def _walk(prefix: str, section: Any) -> Iterator[Setting]:
    if isinstance(section, BaseModel):
        fields = {name: field.description or "" for name, field in type(section).model_fields.items()}
    else:
        fields = {field.name: "" for field in dataclasses.fields(section)}
    for name, about in fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
            yield from _walk(f"{prefix}{name}.", value)
        else:
            yield Setting(f"{prefix}{name}", _written(value), about)


def _written(value: Any) -> str:
    """A value as --set reads it: TOML, and `null` for none."""
    if isinstance(value, BaseModel):
        return _written(value.model_dump(mode="json", exclude_none=True))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return json.dumps(value)


def print_settings(workdir: Path, profile: str | None, overrides: list[str] | None, prefix: str) -> None:
    """Print those whose key begins with `prefix`, one a line.

    Raises:
        UnknownSetting: there is none.
    """
    every = list_settings(Workspace(workdir, profile, overrides).profile)
    chosen = [each for each in every if f"{each.key}.".startswith(f"{prefix}.") or not prefix]
    if not chosen:
        keys = [each.key for each in every]
        near = difflib.get_close_matches(prefix, [*keys, *{key.partition(".")[0] for key in keys}], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`video2lora settings` lists all."
        raise UnknownSetting(f"No setting is called {prefix!r}; {hint}")
    width = max(len(f"{each.key}={each.value}") for each in chosen)
    for each in chosen:
        out.print(f"{each.key}={each.value}".ljust(min(width, 48)) + f"  {each.about}".rstrip(), markup=False)
