"""The run folder: never overwritten, and changed by several processes at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hieraseg.errors import RecipeError
from hieraseg.runs.folder import RunFolder


def test_a_run_folder_below_a_broken_link_is_refused(tmp_path: Path) -> None:
    """`runs` may be a link to a disk that is not mounted, which is not a name that exists."""
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted")
    with pytest.raises(RecipeError, match="the run folder cannot be created"):
        RunFolder.create(tmp_path / "runs", "quickstart", "run", 0)


def test_a_run_folder_that_exists_gets_a_number(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, "quickstart", "run", 0).path.name for _ in range(3)]
    assert names == ["run-seed0", "run.2-seed0", "run.3-seed0"]


def test_scores_and_cost_written_at_once_are_all_kept(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quickstart", "run", 0)

    def write(number: int) -> None:
        if number % 2:
            folder.write_cost({"seconds": number})
        else:
            counts = {"pixels": np.array([number])}
            folder.write_scores(f"split{number}", {"images": number}, counts, [str(number)])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(200)))
    result = json.loads(folder.result.read_text())
    assert set(result["splits"]) == {f"split{number}" for number in range(0, 200, 2)}
    assert result["cost"]["seconds"] % 2 == 1
    assert not list(folder.path.rglob("*.unfinished"))


def test_cost_can_be_written_before_any_scores(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quickstart", "run", 0)
    folder.write_cost({"seconds": 1.0})
    assert folder.read_result() == {"splits": {}, "cost": {"seconds": 1.0}}
