"""Importing with less work."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hieraseg.importing as importing_module
from hieraseg.importing import hidden, importing


@pytest.fixture
def first_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was imported yet. Garbage collection is as it was, afterwards."""
    monkeypatch.setattr(importing_module, "_first_time", True)
    was_enabled = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if was_enabled else gc.disable)()


@pytest.mark.usefixtures("first_time")
def test_importing_collects_no_garbage_until_its_end() -> None:
    gc.enable()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count()


@pytest.mark.usefixtures("first_time")
def test_garbage_is_collected_again_after_a_failed_import() -> None:
    gc.enable()
    with pytest.raises(ModuleNotFoundError), importing():
        import hieraseg.missing  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


@pytest.mark.usefixtures("first_time")
def test_garbage_collection_that_is_off_stays_off() -> None:
    gc.disable()
    with importing():
        pass
    assert not gc.isenabled()


@pytest.mark.usefixtures("first_time")
def test_garbage_of_later_imports_is_still_collected() -> None:
    gc.enable()
    with importing():
        pass
    frozen = gc.get_freeze_count()
    with importing():
        assert gc.isenabled()
    assert gc.get_freeze_count() <= frozen  # some of them may be gone


def test_hidden_package_cannot_be_imported_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hidden_once.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError), hidden("hidden_once"):
        import hidden_once  # type: ignore[import-not-found]
    import hidden_once

    with hidden("hidden_once"):
        assert sys.modules["hidden_once"] is hidden_once, "it has been imported already"
    assert sys.modules.pop("hidden_once") is hidden_once
