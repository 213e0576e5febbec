"""The workers of a run, for a thread that must not disturb the collectives of the training step."""

from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


class Team:
    """This worker's number, how many there are, and a way of their own to tell each other small values.

    Every worker has to make one at the same time. A team is used by one thread at a time.
    """

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.size = dist.get_world_size() if together else 1
        self._group = dist.new_group(backend="gloo") if self.size > 1 else None

    def gather(self, value: T) -> list[T]:
        """The values of all workers, in their order; every worker has to call it."""
        if self._group is None:
            return [value]
        everyone: list = [None] * self.size
        dist.all_gather_object(everyone, value, group=self._group)
        return everyone
