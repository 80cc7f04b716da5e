"""Reading ahead with threads."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from hieraseg.data.prefetch import prefetch


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ahead", [1, 2, 5])
@pytest.mark.parametrize("items", [0, 1, 2, 3, 9])
def test_results_are_in_order(items: int, ahead: int, threads: int) -> None:
    results = prefetch(lambda n: n * n, range(items), ahead, threads)
    assert list(results) == [n * n for n in range(items)]


def test_another_thread_reads_a_limited_number_of_items_ahead() -> None:
    started: list[int] = []
    threads: set[int] = set()

    def read(item: int) -> int:
        started.append(item)
        threads.add(threading.get_ident())
        return item

    used = 0
    for item in prefetch(read, range(20), ahead=3):
        used += 1
        assert max(started) <= item + 3
    assert used == 20
    assert threading.get_ident() not in threads
    assert len(threads) == 1


def test_items_are_taken_when_they_can_be_read() -> None:
    """So they may be endless."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in count():
            taken.append(item)
            yield item

    results = prefetch(lambda item: item, items(), ahead=3)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    assert taken == list(range(6))
    results.close()


def test_closing_the_iterator_ends_its_thread() -> None:
    before = threading.active_count()
    results = prefetch(lambda item: item, range(100))
    next(results)
    results.close()
    assert threading.active_count() == before


def test_an_exception_is_raised_at_its_item() -> None:
    def read(item: int) -> int:
        if item == 2:
            raise OSError("the disk is gone")
        return item

    seen: list[int] = []

    def consume(items: Iterator[int]) -> None:
        for item in items:
            seen.append(item)

    with pytest.raises(OSError, match="the disk is gone"):
        consume(prefetch(read, range(5)))
    assert seen == [0, 1]
