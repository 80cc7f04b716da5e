"""Set-up of all tests: shapes are checked at run time, caches lie in a temporary folder."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

import tests.support.shapes

# Before anything imports the packages: the hook changes modules while they are loaded.
tests.support.shapes.install()

# Shells start jobs in the background with Ctrl-C ignored, and `nohup` with SIGHUP. Programs that
# tests start inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The first example pays for imports, so no single one has a time limit.
settings.register_profile("hieraseg", deadline=None, max_examples=40)
settings.load_profile("hieraseg")


@pytest.fixture(scope="session", autouse=True)
def isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of its own, no data sets, and one thread, so that tests can run side by side."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIERASEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("HIERASEG_DATA", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def curves_are_drawn_once() -> Iterator[None]:
    """All runs get the curves of the first one: drawing takes a third of the time of a small run.

    Which curves belong to which records is tested in `tests/visualize/test_curves.py`.
    """
    # Imported here, since the hook above has to come before the packages.
    from hieraseg.runs import figures

    draw_curves, drawn = figures.draw_curves, []

    def first_curves(records: Any) -> Any:
        if not drawn:
            drawn.append(draw_curves(records))
        return drawn[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw_curves", first_curves)
        yield


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a quickstart run of two epochs. Tests must not change it."""
    # Imported here, since the hook above has to come before the packages.
    from tests.support.runs import run_recipe

    return run_recipe(tmp_path_factory.mktemp("runs"), "--training.epochs", "2")


@pytest.fixture(scope="session")
def oracle_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run whose model predicts all labels right. Tests must not change it."""
    # Imported here, since the hook above has to come before the packages.
    from hieraseg.cli import main
    from tests.support.oracle import write_oracle_recipe

    folder = tmp_path_factory.mktemp("oracle")
    recipe = write_oracle_recipe(folder)
    assert main(["run", recipe, "--out", str(folder / "runs")]) == 0
    return next(folder.glob("runs/*/*"))
