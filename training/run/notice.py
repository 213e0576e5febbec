"""Notice that a machine of the run is about to be taken away, as a cloud gives it for a spot machine."""

import time

# Ray looks at its machines as often.
LOOK_SECONDS = 5.0


class Notice:
    """What the cluster has told of machines that it will lose.

    Args:
        seconds: between two looks; each is a word with the cluster's controller.
    """

    def __init__(self, seconds: float = LOOK_SECONDS) -> None:
        self._seconds = seconds
        self._looked = time.monotonic()
        self._known: set[str] = set()

    def due(self) -> bool:
        """Whether it is time to look again; one worker's answer has to count for all."""
        return time.monotonic() - self._looked >= self._seconds

    def came(self) -> bool:
        """Look; whether machines were named that had not been before. Every worker has to call it at once."""
        from ray.train import get_preemption_info

        self._looked = time.monotonic()
        told = get_preemption_info()
        fresh = set(told.preempted_node_ids) - self._known if told is not None else set()
        self._known |= fresh
        return bool(fresh)
