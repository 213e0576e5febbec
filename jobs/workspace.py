"""A working directory: where one catalogue, its models and what they generate lie."""

import json
import os
import re
import subprocess
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.bucket_dir import BucketDir
from jobs.errors import BadProfile, NoCatalog, NothingToDo
from jobs.profile import STORED, Profile, load_profile, stored_profile
from jobs.troubles import usable_folder
from training.files import write_atomically

if TYPE_CHECKING:
    from catalog.store import Catalog
    from training.copied import Copied

# Of a working directory in a bucket: a run and the catalogue with its models go there by themselves; pictures
# of the catalogue are drawn where they are missing.
_KEPT_OTHERWISE = ("catalog", "models", "runs", "web-pictures")
# What a later command reads of an earlier one's, on whatever machine that ran.
_READ = ("evaluations",)


class Workspace:
    """Paths and settings of one working directory.

    The profile is written into it by the first command, so that later ones need not name it again.

    Args:
        root: the directory; made when missing. In a bucket (`BucketDir`) a copy on this machine is worked in:
            runs and models are kept in the bucket as they come, everything else by `keep`.
        profile: a shipped profile's name or a file; None takes the directory's own, or `tiny` in a new one.
        overrides: `section.key=value` texts applied on top.
        catalog_uri: a catalogue elsewhere (for instance `s3://...`); None is `root/catalog`.

    Attributes:
        root: the directory on this machine.
        name: what to say for `--workdir` to have this one.

    Raises:
        BadProfile: see `load_profile`; also when `root` is a file.
        NoCatalog: `catalog_uri` is of a kind that holds no catalogue.
    """

    def __init__(
        self,
        root: Path,
        profile: str | None = None,
        overrides: list[str] | None = None,
        catalog_uri: str | None = None,
    ) -> None:
        self.name, self._uri = str(root), root.uri if isinstance(root, BucketDir) else None
        if isinstance(root, BucketDir):
            catalog_uri = catalog_uri or f"{root.uri}/catalog"
            root = _cached(root)
        if root.exists() and not root.is_dir():
            raise BadProfile(f"--workdir {root} is a file; name a directory, it is made when missing.")
        self.root = root
        if self._uri is not None and not self._copied.fetch(STORED):
            from training.objects import require_bucket

            require_bucket(self._uri)
            (root / STORED).unlink(missing_ok=True)
        self._stored = root / STORED
        self._adopted = profile is not None
        self.profile: Profile = load_profile(profile or stored_profile(root), overrides)
        scheme, colon, _ = (catalog_uri or "").partition("://")
        if colon and scheme != "s3":
            raise NoCatalog(
                f"--catalog {catalog_uri} is no place for a catalogue; name a folder or s3://BUCKET/PREFIX."
            )
        self.catalog_uri = catalog_uri or str(root / "catalog")

    def remember_profile(self, succeeded: bool = False) -> None:
        """Store the resolved settings beside what they produce.

        The first command's are stored when it begins; those of a profile that is named later when the command
        has succeeded. What a later command overrides with `--set` holds for that command alone.
        """
        if self._stored.exists() and not (self._adopted and succeeded):
            return
        usable_folder(self.root, "--workdir")
        write_atomically(self._stored, self.profile.model_dump_json(indent=2) + "\n")
        self.keep()

    def adopt(self, profile: Profile) -> None:
        """Take these settings for this command and, when it succeeds, for the ones after it."""
        self.profile = profile
        self._adopted = True

    @cached_property
    def catalog(self) -> "Catalog":
        """The catalogue, made if this is the first command that needs it."""
        from catalog.store import Catalog

        try:
            return Catalog.create(self.catalog_uri, self.profile.clip)
        except (OSError, RuntimeError, ValueError) as error:
            if "://" not in self.catalog_uri:
                raise
            raise NoCatalog(
                f"The catalogue at {self.catalog_uri} cannot be opened: {_refusal(error)}. Check the name of "
                "the bucket, AWS_ENDPOINT_URL, and the credentials in the environment."
            ) from error

    def existing_catalog(self) -> "Catalog":
        """The catalogue, for commands that only read: a missing one is an error, not a new folder."""
        if "://" not in self.catalog_uri and not Path(self.catalog_uri).exists():
            raise NothingToDo(
                f"There is no catalogue in {self.name}. Make one with "
                f"`video2lora run VIDEOS --workdir {self.name}` or `video2lora ingest`."
            )
        return self.catalog

    def folder(self, name: str) -> Path:
        """A folder of this workspace (`runs`, `models`, `generated`, ...), made when missing."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        if self._uri is not None and name in _READ:
            self._copied.fetch_missing(name)
        return path

    @property
    def runs_uri(self) -> str | None:
        """Where the runs of a working directory in a bucket are kept; None where `runs` is their place."""
        return self._uri and f"{self._uri}/runs"

    def keep(self) -> None:
        """Have in the bucket, where this directory is in one, what has been written on this machine.

        Raises:
            StoreError, Faltered: the bucket does not take it.
        """
        if self._uri is not None:
            self._copied.put()

    @cached_property
    def _copied(self) -> "Copied":
        from training.copied import Copied

        return Copied(self.root, str(self._uri), _KEPT_OTHERWISE, remembers=True)


def _cached(place: BucketDir) -> Path:
    from training.backbones.hub import cache_folder

    return usable_folder(cache_folder() / "workdirs" / place.inside, f"The copy of {place} in")


def _refusal(error: Exception) -> str:
    """What an object store said, without the places in Lance's source where it was said."""
    text = str(error).splitlines()[0].removeprefix("lance error: ")
    return re.sub(r",? ?/\S+\.rs:\d+(:\d+)?", "", text)[:300].rstrip(". ")


def code_revision() -> str:
    """The commit this code runs from, or the installed version where it is no checkout.

    Code that was sent to a cluster is told where it comes from.
    """
    if sent := os.environ.get("VIDEO2LORA_REVISION"):
        return sent
    here = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        from importlib.metadata import version

        return f"v{version('video2lora')}"


def write_json(path: Path, value: object) -> None:
    """Write JSON so that a reader never sees half of it."""
    write_atomically(path, json.dumps(value, indent=2, default=str) + "\n")
