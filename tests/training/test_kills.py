"""Runs that are killed at random moments, resumed until they end: see `benchmarks/kills.py`.

Runs are forked from a new process: in that of the tests, autograd may have started threads.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pytest
from benchmarks.kills import Kill, Trials

from hieraseg.training import recorder
from tests.support.processes import write_recipe
from tests.support.resuming import CUT, SETTINGS


class Tried(NamedTuple):
    """What came of a run that was killed.

    Attributes:
        is_same: whether it ended as one that was not killed.
        problems: what was found in all runs so far.
        kills: how often they were killed.
    """

    is_same: bool
    problems: list[str]
    kills: int


@cache
def trials(folder: Path) -> Trials:
    """Trials, and the run that is not killed."""
    setattr(recorder, "save_run_figures", lambda *_: None)  # noqa: B010 (half of such a run's time)
    return Trials(folder, [write_recipe(folder), *SETTINGS, *CUT], seed=0)


def kill(folder: Path, kills: int) -> Tried:
    """Kill a run so often, first at a moment that it reaches however fast this machine is."""
    own = trials(folder)
    first: Kill = next(one for one in iter(own.draw, None) if one.operation is not None)
    is_same = own.try_one([first] + [own.draw() for _ in range(kills - 1)])
    return Tried(is_same, [str(one) for one in own.report.problems], own.report.kills.total())


def expect_other(folder: Path) -> Tried:
    """Do not kill a run, and expect another end."""
    own = Trials.__new__(Trials)
    own.__dict__ |= {**trials(folder).__dict__, "expected": {"last": {}}}
    return Tried(own.try_one([]), [], 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("kills", [1, 3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(
    process: ProcessPoolExecutor, folder: Path, kills: int
) -> None:
    tried = process.submit(kill, folder, kills).result()
    assert tried.is_same, tried.problems
    assert tried.kills


def test_problems_are_found(process: ProcessPoolExecutor, folder: Path) -> None:
    """An end that differs, of a run that was not even killed."""
    assert not process.submit(expect_other, folder).result().is_same
