"""Results that are kept while they are wanted: the least recently used goes first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """At most `size` results by key; several threads may ask.

    Two that ask for the same at once may both compute it: nobody waits for a lock while somebody computes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._results: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result kept under `key`, else what `make` returns, which is kept from now on."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        result = make()
        with self._lock:
            self._results[key] = result
            while len(self._results) > self.size:
                self._results.popitem(last=False)
        return result

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._results

    def forget(self, key: Hashable) -> None:
        """Let the next `get` make it anew."""
        with self._lock:
            self._results.pop(key, None)
