"""Reading ahead with threads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    read: Callable[[Item], Result], items: Sequence[Item], ahead: int = 2, threads: int = 1
) -> Iterator[Result]:
    """Yield `read(item)` for each item in order, read by threads before it is needed.

    An exception of `read` is raised when its item is reached.

    Args:
        read: thread-safe if there are several threads.
        items: what to read.
        ahead: maximum number of results that are read but not used yet.
        threads: number of threads.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(read, item) for item in items[:ahead])
        for following in (*items[ahead:], *[None] * min(ahead, len(items))):
            yield waiting.popleft().result()
            if following is not None:
                waiting.append(pool.submit(read, following))
