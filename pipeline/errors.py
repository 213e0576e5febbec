"""What this room raises for a bad request; a bad input is a row with a reason instead."""


class PipelineError(Exception):
    """A request that cannot be met; the message says what is wrong, what would be right and what to type."""
