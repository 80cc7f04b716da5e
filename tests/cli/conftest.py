"""Fixtures shared by the tests of commands."""

import shutil
from pathlib import Path

import pytest

from tests.support.components import VALID


@pytest.fixture
def run_copy(trained_run: Path, tmp_path: Path) -> Path:
    """Copy of the trained run that a test may change."""
    return Path(shutil.copytree(trained_run, tmp_path / "copy"))


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe file whose components are those of `tests.support.components`."""
    path = tmp_path / "recipe.yaml"
    path.write_text(VALID)
    return str(path)
