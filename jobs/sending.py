"""What of a command line is sent to a cluster: the same words, with paths that mean there what they do here.

`--submit` and the options beside it may stand anywhere in the line of any command. They are taken out before
the command sees its words: they say where it runs, and not what it does.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from jobs.errors import JobError

SUBMIT, DETACH, JOB_ID, CODE, ADDRESS = "--submit", "--detach", "--job-id", "--code", "--address"
CODES = ("tree", "image")
# They are about this machine, or about jobs themselves.
_STAY = {"job", "serve", "settings"}
# What may be a path, where such a file is there: else a clip's id, a name, a pattern, an address.
_PERHAPS = {"source", "catalog", "profile", "reference", "first_frame"}
# File systems that several machines see; every other one is a disk of this machine.
_SHARED = {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "panfs"}
_SHARED |= {"smb3", "virtiofs", "wekafs"}


class BadSubmit(JobError):
    """A command that cannot be sent as it is typed."""


@dataclass(frozen=True)
class Sending:
    """A command that is to run on a cluster.

    Attributes:
        words: the command line without what says where it runs.
        address: of the cluster, as it was typed; None: from the environment.
        job_id: names the job, so that sending it twice runs it once; None: a new one each time.
        code: "tree", this machine's code is packed; "image", what the cluster has runs.
        detach: do not wait for its end.
    """

    words: tuple[str, ...]
    address: str | None = None
    job_id: str | None = None
    code: str = "tree"
    detach: bool = False


@dataclass(frozen=True)
class NamedPath:
    """A path that a command line names.

    Attributes:
        typed: as it was typed, or as the command takes it where nothing was.
        option: to say it with, where nothing was typed.
    """

    typed: str
    option: str | None = None

    @property
    def absolute(self) -> str:
        return str(Path(self.typed).expanduser().absolute())


def sending_of(words: Sequence[str]) -> Sending | None:
    """What `--submit` asks for; None where the words do not hold it.

    Raises:
        BadSubmit: an option without its value, or with one that means nothing; a command that stays here.
    """
    end = list(words).index("--") if "--" in words else len(words)
    if SUBMIT not in words[:end]:
        return None
    left: list[str] = []
    said: dict[str, str] = {}
    waiting = iter(words[:end])
    for word in waiting:
        name, sign, value = word.partition("=")
        if name in (JOB_ID, CODE, ADDRESS):
            said[name] = value if sign else next(waiting, "")
            if not said[name] or said[name].startswith("--"):
                raise BadSubmit(f"{name} needs a value; see `video2lora job --help`.")
        elif word not in (SUBMIT, DETACH):
            left.append(word)
    code, job_id = said.get(CODE, "tree"), said.get(JOB_ID)
    if code not in CODES:
        raise BadSubmit(f"{CODE} {code!r} is neither tree (this machine's code) nor image (the cluster's).")
    if job_id is not None and not all(sign.isalnum() or sign in "-_." for sign in job_id):
        raise BadSubmit(f"{JOB_ID} {job_id!r} may hold letters, digits, '-', '_' and '.', nothing else.")
    if not left or left[0] in _STAY:
        what = f"`video2lora {left[0]}` runs on this machine only" if left else "There is no command to send"
        raise BadSubmit(f"{what}; send one that works, as in `video2lora train -w /shared/work {SUBMIT}`.")
    return Sending((*left, *words[end:]), said.get(ADDRESS), job_id, code, DETACH in words[:end])


def named_paths(app: typer.Typer, words: Sequence[str]) -> list[NamedPath]:
    """The paths that a command line names, and the working directory where it is left to its default.

    Raises:
        typer.TyperException: words that the command does not understand, as when it would run here.
    """
    context = _context(app, words)
    found = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        given = context.get_parameter_source(parameter.name or "")
        if given is not None and given.name == "DEFAULT":
            if parameter.name == "workdir":
                found.append(NamedPath(str(value), "--workdir"))
            continue
        found += [NamedPath(each) for each in _paths(parameter.name, value)]
    return found


def sent_words(words: Sequence[str], paths: Sequence[NamedPath]) -> list[str]:
    """The words as they are sent: every path absolute, for the job has another working directory."""
    absolute = {path.typed: path.absolute for path in paths}
    sent = [words[0]]
    for word in words[1:]:
        head, sign, value = word.rpartition("=")
        if word in absolute:
            sent.append(absolute[word])
        elif sign and value in absolute:
            sent.append(f"{head}={absolute[value]}")
        elif word[:2] == "-w" and word[2:] in absolute:
            sent.append(f"-w{absolute[word[2:]]}")
        else:
            sent.append(word)
    return [*sent, *(word for path in paths if path.option for word in (path.option, path.absolute))]


def require_seen(paths: Sequence[NamedPath], nodes: Sequence[str], here: str) -> None:
    """Refuse paths that the nodes of a cluster cannot see.

    Args:
        paths: what the command line names.
        nodes: the names of the machines of the cluster.
        here: the name of this one.

    Raises:
        BadSubmit: a path that is on a disk of this machine, or that only means something from here.
    """
    others = sorted(set(nodes) - {here})
    if not others:
        return
    where = ", ".join(others[:3]) + (" and others" if len(others) > 3 else "")
    for path in paths:
        place = Path(path.absolute)
        if place.exists() and not _is_shared(place):
            raise BadSubmit(
                f"{place} is on a disk of this machine, which {where} cannot read; put it on storage that "
                "the cluster shares, under the same path, or name an s3:// address."
            )
        if not place.exists() and not Path(path.typed).is_absolute():
            said = f"{path.option} {path.typed}" if path.option else path.typed
            raise BadSubmit(
                f"{said} is taken from this folder, which {where} does not have; name the path in full, as "
                "the cluster's machines see it."
            )


def _context(app: typer.Typer, words: Sequence[str]) -> Any:
    """The parsed command line; nothing of it runs."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("video2lora", list(words))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return context


def _paths(name: str | None, value: Any) -> Iterator[str]:
    for each in value if isinstance(value, list | tuple) else [value]:
        if isinstance(each, Path) and not str(each).startswith("s3:"):
            yield str(each)
        elif isinstance(each, str) and name == "overrides":
            setting = each.partition("=")[2]
            if os.sep in setting and "://" not in setting and Path(setting).expanduser().exists():
                yield setting
        elif isinstance(each, str) and name in _PERHAPS and "://" not in each:
            if name == "profile":
                named = each.endswith(".toml")
            else:
                named = name == "source" or os.sep in each or Path(each).exists()
            if named:
                yield each


def _is_shared(place: Path) -> bool:
    """Whether a path is on storage that is made for several machines."""
    import psutil

    real = place.resolve()
    mounts = [each for each in psutil.disk_partitions(all=True) if real.is_relative_to(each.mountpoint)]
    kind = max(mounts, key=lambda each: len(each.mountpoint)).fstype if mounts else ""
    return kind in _SHARED or kind.startswith("fuse.")
