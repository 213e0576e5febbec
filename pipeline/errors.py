"""What this room raises for a bad request; a bad input is a row with a reason instead."""


class PipelineError(Exception):
    """A request that cannot be met; the message says what is wrong, what would be right and what to type."""


class BadSource(PipelineError):
    """The given place holds no readable list of videos: missing, empty, unknown layout."""


class BadManifest(BadSource):
    """A manifest that cannot be used as it stands; the message carries the file and the line."""


class Interrupted(KeyboardInterrupt):
    """Somebody stopped the work; the message says what is kept and what is left to do."""
