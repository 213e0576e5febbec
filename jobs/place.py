"""Where videos are to be found, as the command line says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import JobError

if TYPE_CHECKING:
    from pipeline.sources.survey import Survey


_GLOB = set("*?[")


class BadColumn(JobError):
    """A column map that maps nothing."""


class NoSuchPlace(JobError):
    """A path that does not exist."""


@dataclass(frozen=True)
class Place:
    """A location, how it is read, and what is true of videos that say nothing of it themselves."""

    location: str
    layout: str | None
    columns: dict[str, str]
    defaults: dict[str, str]
    strict: bool = False
    _found: dict[str | None, "Survey"] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        location: str,
        layout: str | None,
        columns: Sequence[str],
        defaults: Mapping[str, str | None],
        strict: bool = False,
    ) -> "Place":
        """A place from `ours=theirs` texts; `label=` says that no column is meant.

        Raises:
            BadColumn: a text without an equals sign.
            NoSuchPlace: a path that is none.
        """
        pairs = [text.partition("=") for text in columns]
        for text, (ours, sign, _) in zip(columns, pairs, strict=True):
            if not ours or not sign:
                raise BadColumn(
                    f"--column {text!r} maps nothing; give our name and the manifest's, as in "
                    "--column caption=prompt, or --column label= where none is meant."
                )
        # The whole look at it is `survey`'s; this much is said before anything is loaded.
        if "://" not in location and not _GLOB & set(location) and not Path(location).expanduser().exists():
            raise NoSuchPlace(
                f"{location!r} does not exist; name a folder, a glob, a video, a manifest or an s3:// prefix."
            )
        given = {name: value for name, value in defaults.items() if value}
        return cls(location, layout, {ours: theirs for ours, _, theirs in pairs}, given, strict)

    def survey(self, endpoint: str | None = None) -> "Survey":
        """What lies there, looked at once; `endpoint` is the store of S3 addresses, where it is not AWS's.

        Raises:
            BadSource, BadManifest: nothing that can be used.
        """
        from pipeline.sources.survey import survey

        if endpoint not in self._found:
            self._found[endpoint] = survey(
                self.location,
                layout=self.layout,
                columns=self.columns or None,
                defaults=self.defaults,
                endpoint=endpoint,
                strict=self.strict,
            )
        return self._found[endpoint]
