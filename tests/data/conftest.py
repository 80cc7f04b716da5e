"""An empty cache for each test."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, which does not exist yet."""
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
