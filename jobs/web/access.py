"""Who may do what: nobody else on this machine's own address; with tokens on any other."""

from __future__ import annotations

import getpass
import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from jobs.errors import JobError
from training.files import written

TOKENS = "web-access.json"
_NAME = re.compile(r"[\w.-]{1,40}")
T = TypeVar("T")


class Role(StrEnum):
    """What somebody may do."""

    VIEWER = "viewer"  # look, search
    CURATOR = "curator"  # and act


class BadAccess(JobError):
    """The file of tokens is not as it was written."""


@dataclass(frozen=True)
class Access:
    """Who may come in.

    Attributes:
        secret: signs the cookies.
        tokens: by role, what has to be said; empty on loopback, where whoever reaches it may curate.
        author: whose acts those are that somebody does on loopback.
        users: by name, the token of somebody who is one user wherever he comes from; a viewer.
    """

    secret: str
    tokens: dict[Role, str] = field(default_factory=dict)
    author: str = ""
    users: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, host: str, folder: Path, users: Sequence[str] = ()) -> Access:
        """For a server that listens on `host`; off loopback its tokens are in a file of `folder`, mode 0600.

        They stay the same from start to start; remove the file for new ones.

        Args:
            users: names that get a token of their own, where they have none yet.

        Raises:
            BadAccess: the file is not as it was written, or a name that nobody can have.
        """
        if is_loopback(host):
            if users:
                raise BadAccess(f"On {host} whoever reaches the server is its one user: leave --user away.")
            return cls(secrets.token_urlsafe(32), author=getpass.getuser())
        for name in users:
            if not _NAME.fullmatch(name):
                raise BadAccess(f"--user {name[:80]!r} is no name: 1 to 40 letters, digits, dots and dashes.")
        file = folder / TOKENS
        if not file.exists():
            new = {name: secrets.token_urlsafe(24) for name in ("secret", *Role)}
            folder.mkdir(parents=True, exist_ok=True)
            # Never readable by others, not even for a moment.
            with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
                json.dump(new, opened, indent=2)
        try:
            kept = json.loads(file.read_text("utf-8"))
            said = {name: str(kept[name]) for name in ("secret", *Role)}
            known = {str(name): str(token) for name, token in kept.get("users", {}).items()}
            if min(map(len, (*said.values(), *known.values()))) < 16:
                raise ValueError("shorter than 16 characters")
        except (ValueError, KeyError, TypeError) as error:
            raise BadAccess(f"{file} does not hold the tokens; remove it, and new ones are made.") from error
        if new_users := {name: secrets.token_urlsafe(24) for name in users if name not in known}:
            known |= new_users
            with written(file) as partial:
                partial.chmod(0o600)
                partial.write_text(json.dumps(said | {"users": known}, indent=2), "utf-8")
            file.chmod(0o600)
        return cls(said["secret"], {role: said[role] for role in Role}, users=known)

    @property
    def asks(self) -> bool:
        """Whether a token has to be said."""
        return bool(self.tokens)

    def role_of(self, token: str) -> Role | None:
        """The role that a token gives."""
        return Role.VIEWER if self.user_of(token) else _whose(self.tokens, token)

    def user_of(self, token: str) -> str | None:
        """The user whose own token it is; None of a token that several share."""
        return _whose(self.users, token)


def _whose(tokens: Mapping[T, str], token: str) -> T | None:
    given = token.encode("utf-8", "surrogatepass")
    found = [whose for whose, known in tokens.items() if hmac.compare_digest(known.encode(), given)]
    return found[0] if found else None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server there."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
