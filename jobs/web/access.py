"""Who may do what: nobody else on this machine's own address; with tokens on any other."""

from __future__ import annotations

import getpass
import hmac
import json
import os
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from jobs.errors import JobError

TOKENS = "web-access.json"


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
    """

    secret: str
    tokens: dict[Role, str] = field(default_factory=dict)
    author: str = ""

    @classmethod
    def of(cls, host: str, folder: Path) -> Access:
        """For a server that listens on `host`; off loopback its tokens are in a file of `folder`, mode 0600.

        They stay the same from start to start; remove the file for new ones.

        Raises:
            BadAccess: the file is not as it was written.
        """
        if is_loopback(host):
            return cls(secrets.token_urlsafe(32), author=getpass.getuser())
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
            if min(map(len, said.values())) < 16:
                raise ValueError("shorter than 16 characters")
        except (ValueError, KeyError, TypeError) as error:
            raise BadAccess(f"{file} does not hold the tokens; remove it, and new ones are made.") from error
        return cls(said["secret"], {role: said[role] for role in Role})

    @property
    def asks(self) -> bool:
        """Whether a token has to be said."""
        return bool(self.tokens)

    def role_of(self, token: str) -> Role | None:
        """The role that a token gives."""
        given = token.encode("utf-8", "surrogatepass")
        found = [role for role, known in self.tokens.items() if hmac.compare_digest(known.encode(), given)]
        return found[0] if found else None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server there."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
