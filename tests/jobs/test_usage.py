"""Every kind of usage mistake on every command: one sentence that names what was typed, and status 2."""

import re
from collections.abc import Iterator

import pytest
import typer

from jobs.cli import app, main
from jobs.usage import refuse_empty_words


def commands(group, *before: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command with the words that call it, those of groups too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


def mistakes() -> Iterator[tuple[list[str], str]]:
    """Words that are a mistake, and what the sentence about them has to name."""
    yield [], "Name a command"
    yield ["ingset"], "ingest"
    yield ["clip", "aprove"], "approve"
    yield ["--nonsense"], "--nonsense"
    for name, command in COMMANDS.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        needed = [word for p in options if p.required for word in (p.opts[0], "x")]
        right = [*("x" for p in arguments if p.required), *needed]
        if right:
            yield [*name], next(p for p in command.params if p.required).opts[0]
        yield [*name, *right, "--nonsense"], "--nonsense"
        yield [*name, *right, "--workdri", "x"], "--workdri"
        if not any(each.nargs == -1 for each in arguments):
            yield [*name, *needed, *("x" for _ in arguments), "superfluous"], "superfluous"
        for option in options:
            typed = max(option.opts, key=len)
            if option.is_flag:
                yield [*name, *right, f"{typed}=x"], typed
                continue
            yield [*name, *right, typed], typed
            if option.name not in ("prompt", "negative_prompt"):
                yield [*name, *right, typed, ""], typed
            if (kind := option.type_descriptor).annotation is int:
                yield [*name, *right, typed, "abc"], f"{typed} 'abc' is not a whole number"
                yield [*name, *right, typed, "1.5"], f"{typed} '1.5' is not a whole number"
                yield [*name, *right, typed, "-1"], f"{typed} '-1' is too small"
                if kind.parameter_info.max is not None:
                    yield [*name, *right, typed, str(2**80)], f"{typed} '{2**80}' is too large"


CASES = list(mistakes())


def test_the_list_of_mistakes_covers_every_command_and_more_than_those_once_tried():
    assert {tuple(words[: len(name)]) for name in COMMANDS for words, _ in CASES} > set(COMMANDS)
    assert len(CASES) > 84


@pytest.mark.parametrize(("words", "named"), CASES, ids=[" ".join(words) or "nothing" for words, _ in CASES])
def test_a_usage_mistake_is_one_sentence_and_status_2(words, named, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr().err.strip()
    assert stopped.value.code == 2
    assert named in said
    assert re.fullmatch(r"video2lora: [^\n]+", said)


def test_an_empty_prompt_is_a_prompt():
    refuse_empty_words(["generate", "--prompt", "", "--seed", "1"])
    refuse_empty_words(["generate", "--prompt=", "--seed", "1"])


@pytest.mark.parametrize(("words", "says"), [(["--version"], "video2lora "), (["--help"], "Exit status")])
def test_version_and_help_are_no_mistakes(words, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    assert says in capsys.readouterr().out
