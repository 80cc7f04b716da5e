"""Reading ahead with threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    read: Callable[[Item], Result], items: Iterable[Item], ahead: int = 2, threads: int = 1
) -> Iterator[Result]:
    """Yield `read(item)` for each item in order, read by threads before it is needed.

    An exception of `read` is raised when its item is reached.

    Args:
        read: thread-safe if there are several threads.
        items: what to read; taken from an iterator when a thread can read it.
        ahead: maximum number of results that are read but not used yet.
        threads: number of threads.
    """
    coming = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(read, item) for item in islice(coming, ahead))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(read, item) for item in islice(coming, 1))
