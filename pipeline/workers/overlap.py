"""The end of one work beside the beginning of the next: a clip is decoded while another is denoised."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Begun, Done = TypeVar("Begun"), TypeVar("Done")


def overlapped(begun: Iterable[Begun], finish: Callable[[Begun], Done]) -> Iterator[Done]:
    """Yield `finish` of each, in order; it runs in a thread while the next one is begun.

    At most one is being finished, so that no more than two are held. Where `begun` raises, what was begun
    before is finished first.


    """
    with ThreadPoolExecutor(1, thread_name_prefix="finish") as pool:
        waiting = None
        for each in begun:
            if waiting is not None:
                yield waiting.result()
            waiting = pool.submit(finish, each)
        if waiting is not None:
            yield waiting.result()
