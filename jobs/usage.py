"""Usage mistakes as sentences: what was typed, what would be right, where to read on."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from jobs.errors import JobError

_MAY_BE_EMPTY = ("--prompt", "--negative-prompt")


class EmptyWord(JobError):
    """An option or argument without text: nearly always a shell variable that is not set."""


def refuse_empty_words(words: Sequence[str]) -> None:
    """Say so where a word is empty, for `""` as a path would mean the current folder.

    Raises:
        EmptyWord: a word, or the value behind an equals sign, is empty and no prompt.
    """
    before = ["video2lora", *words]
    for previous, word in zip(before, words, strict=False):
        if word == "" and previous not in _MAY_BE_EMPTY:
            raise EmptyWord(
                f"The word after {previous!r} is empty, perhaps a shell variable that is not set; "
                "write it out, or leave the option away."
            )
        if word.startswith("--") and word.endswith("=") and word[:-1] not in _MAY_BE_EMPTY:
            raise EmptyWord(f"{word!r} has no value, perhaps a shell variable that is not set; write it out.")


def sentence(error: typer.TyperException, words: Sequence[str]) -> str:
    """What was wrong with `words`, and whose help says more."""
    option, wrong = getattr(error, "param", None), _pydantic_error(error)
    if option is not None and wrong is not None:
        said = f"{max(option.opts, key=len)} {wrong['input']!r} {wording(wrong)}."
    else:
        said = error.format_message().rstrip() or "Name a command; the first one is `video2lora run FOLDER`."
    if not said.endswith((".", "?")):
        said += "."
    return f"{said} See `{_command(error, words)} --help`."


def wording(error: Mapping[str, Any]) -> str:
    """What pydantic found, as the end of a sentence that begins with the name and the value."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "int_parsing" | "int_from_float" | "int_type":
            return "is not a whole number"
        case "float_parsing" | "float_type":
            return "is not a number"
        case "bool_parsing" | "bool_type":
            return "is neither true nor false"
        case "greater_than_equal":
            return f"is too small; the smallest is {limits['ge']}"
        case "greater_than":
            return f"is too small; it has to be more than {limits['gt']}"
        case "less_than_equal":
            return f"is too large; the largest is {limits['le']}"
        case "less_than":
            return f"is too large; it has to be less than {limits['lt']}"
        case "literal_error" | "enum":
            return f"is not one of {limits['expected']}"
        case _:
            said = error["msg"].removeprefix("Value error, ").rstrip(".")
            return f"is not valid: {said[:1].lower()}{said[1:]}"


def _pydantic_error(error: BaseException) -> Mapping[str, Any] | None:
    details = getattr(error.__cause__, "errors", None)
    return details()[0] if details is not None else None


def _command(error: typer.TyperException, words: Sequence[str]) -> str:
    context = getattr(error, "ctx", None)
    if context is not None:
        return context.command_path
    # An option without its value is found before there is a context: the command is the first word.
    return " ".join(["video2lora", *(words[:1] if words and not words[0].startswith("-") else [])])
