"""Items through actors that load for long, each given what it makes when it is free: no item is lost with a
worker or its machine."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from pipeline.errors import PipelineError

Item = TypeVar("Item")

# Workers that may be lost while they load, for each that there is to be: more than that is no bad luck.
_LOADS = 2


class NoCrew(PipelineError):
    """No worker can begin."""


class Crew(Generic[Item]):
    """A number of actors with `ready() -> str`, what keeps it from working or "", and `make(item) -> result`.

    One that is lost is replaced where there is a place for another; meanwhile the others go on. What it was
    making is made once more, by a worker that makes nothing beside it: if that is lost too, the item is why.

    Args:
        hire: starts an actor.
        size: actors, at most one for each item.
        at_once: items that an actor is given at the same time.
    """

    def __init__(self, hire: Callable[[], ActorHandle], size: int, at_once: int) -> None:
        self._hire, self._size, self._at_once = hire, size, at_once
        self._loading: dict[ObjectRef, ActorHandle] = {}
        self._running: dict[ObjectRef, tuple[int, ActorHandle]] = {}
        self._lost: Counter[int] = Counter()  # by item: workers
        self._lost_loading = 0
        self.loaded: list[ActorHandle] = []

    def work(
        self, items: Sequence[Item], tick: Callable[[], None] = lambda: None, seconds: float = 1.0
    ) -> Iterator[tuple[Item, object | None]]:
        """Yield each item with what was made of it, as it comes; None where two workers were lost over it.

        Args:
            tick: called at least every `seconds`.

        Raises:
            NoCrew: a worker says that it cannot begin, or they are lost before they can.
        """
        waiting = deque(range(len(items)))
        try:
            while waiting or self._running:
                self._start(len(waiting))
                self._give(waiting, items)
                ended, _ = ray.wait([*self._running, *self._loading], timeout=seconds)
                for reference in ended:
                    if reference in self._loading:
                        self._loaded(reference)
                        continue
                    number, by = self._running.pop(reference)
                    try:
                        made = ray.get(reference)
                    except RayActorError:
                        self._dismiss(by)
                        self._lost[number] += 1
                        if self._lost[number] == 1:
                            waiting.appendleft(number)
                            continue
                        made = None
                    yield items[number], made
                tick()
        finally:
            for each in (*self.loaded, *self._loading.values()):
                ray.kill(each)

    def _start(self, waiting: int) -> None:
        there = len(self.loaded) + len(self._loading)
        for _ in range(min(self._size - there, waiting)):
            actor = self._hire()
            self._loading[actor.ready.remote()] = actor

    def _loaded(self, reference: ObjectRef) -> None:
        actor = self._loading.pop(reference)
        try:
            trouble = ray.get(reference)
        except RayActorError as error:
            self._lost_loading += 1
            if error.actor_init_failed:  # a fault of ours, which the next one meets too
                raise
            if self._lost_loading > _LOADS * self._size:
                raise NoCrew(
                    "Workers are lost while they load what they need, again and again; perhaps their machines"
                    " have too little memory. `ray status` shows what is there."
                ) from error
            return
        if trouble:
            raise NoCrew(trouble)
        self.loaded.append(actor)

    def _give(self, waiting: deque[int], items: Sequence[Item]) -> None:
        """One to each that is loaded, then another, while there is more than those that load will want."""
        for place in range(self._at_once):
            for actor in self.loaded:
                if len(waiting) > place * len(self._loading) and self._free(actor, waiting[0], place):
                    number = waiting.popleft()
                    self._running[actor.make.remote(items[number])] = (number, actor)

    def _free(self, actor: ActorHandle, number: int, place: int) -> bool:
        held = [each for each, by in self._running.values() if by == actor]
        suspects = any(self._lost[each] for each in (number, *held))
        return len(held) <= (0 if suspects else place)

    def _dismiss(self, actor: ActorHandle) -> None:
        if actor in self.loaded:
            self.loaded.remove(actor)
            ray.kill(actor)  # it may only have been out of reach
