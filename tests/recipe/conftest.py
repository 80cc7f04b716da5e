"""Fixtures shared by the tests of recipes."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, in which nothing has been run afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIERASEG_PLUGINS", raising=False)
    yield tmp_path
    assert not (tmp_path / "runs").exists()
