"""Why one input makes no clip: a reason for its row, never the end of the run."""


class Rejection(Exception):
    """An input that cannot become a clip.

    `code` is a short slug for counting (`too_few_frames`), `reason` a sentence for people.
    """

    def __init__(self, code: str, reason: str):
        super().__init__(reason)
        self.code = code
        self.reason = reason
