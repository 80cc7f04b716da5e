"""Runs that are killed at random moments, resumed until they end: see `benchmarks/kills.py`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.kills import Kill, Trials

from tests.support.processes import write_recipe
from tests.support.resuming import CUT, SETTINGS


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    folder = tmp_path_factory.mktemp("kills")
    recipe = write_recipe(tmp_path_factory.mktemp("recipe"))
    with pytest.MonkeyPatch.context() as patch:  # figures take half of the time of such a run
        patch.setattr("hieraseg.training.recorder.save_run_figures", lambda *arguments: None)
        yield Trials(folder, [recipe, *SETTINGS, *CUT], seed=0)


@pytest.mark.parametrize("kills", [1, 3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(trials: Trials, kills: int) -> None:
    assert trials.try_one([by_operation(trials)] + [trials.draw() for _ in range(kills - 1)]), (
        trials.report.problems
    )
    assert trials.report.kills.total()


def by_operation(trials: Trials) -> Kill:
    """A moment that the first process reaches, however fast this machine is."""
    return next(kill for kill in iter(trials.draw, None) if kill.operation is not None)


def test_problems_are_found(trials: Trials, tmp_path: Path) -> None:
    """An end that differs, of a run that was not even killed."""
    own = Trials.__new__(Trials)
    own.__dict__ |= {**trials.__dict__, "folder": tmp_path, "expected": {"last": {}}}
    assert not own.try_one([])
