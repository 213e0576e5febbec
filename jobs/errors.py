"""What a person can put right at the command line."""


class JobError(Exception):
    """A request that cannot be carried out; the message says what to type instead."""


class BadProfile(JobError):
    """A profile file, or an override of it, that does not say what this version understands."""


class NothingToDo(JobError):
    """A step was asked for before the step that feeds it."""


class NoCatalog(JobError):
    """A place that holds no catalogue and can hold none, or that does not answer."""
