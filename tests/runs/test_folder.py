"""The run folder: never overwritten, and changed by several processes at once."""

import json
import math
import multiprocessing
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pytest

from hieraseg.errors import DivergedError, RecipeError, UnwrittenScoresError
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.leftovers import find_leftovers

COUNTS = {"pixels": np.ones(1, int)}


def test_a_run_folder_below_a_broken_link_is_refused(tmp_path: Path) -> None:
    """`runs` may be a link to a disk that is not mounted, which is not a name that exists."""
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted")
    with pytest.raises(RecipeError, match="the run folder cannot be created"):
        RunFolder.create(tmp_path / "runs", "quickstart", "run", 0)


def test_a_run_folder_that_exists_gets_a_number(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, "quickstart", "run", 0).path.name for _ in range(3)]
    assert names == ["run-seed0", "run-run2-seed0", "run-run3-seed0"]


def test_scores_written_at_once_are_all_kept(tmp_path: Path) -> None:
    """So are counts: those of one split are of one evaluation."""
    folder = RunFolder.create(tmp_path, "quickstart", "run", 0)

    def write(number: int) -> None:
        key = "val" if number % 2 else f"split{number}"
        counts = {"pixels": np.full(1000, number)}
        cost = {"seconds": number} if number == 50 else None
        folder.write_scores(key, {"images": number}, counts, [str(number)], cost)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(100)))
    result = folder.read_result()
    assert set(result["splits"]) == {"val", *(f"split{number}" for number in range(0, 100, 2))}
    assert result["cost"] == {"seconds": 50}
    for key, scores in result["splits"].items():
        with np.load(folder.path / "evaluation" / f"{key}.npz") as arrays:
            assert set(arrays["pixels"]) == {scores["images"]}
    assert find_leftovers(folder.path) == [folder.path / "result.lock"]


def _write_ten_times(folder: RunFolder, number: int) -> None:
    for _ in range(10):
        counts = {"pixels": np.full(1000, number)}
        folder.write_scores("val", {"images": number}, counts, ["a"])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of fork, with threads
def test_evaluations_by_several_processes_at_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quickstart", "run", 0)
    start = multiprocessing.get_context("fork").Process  # the others import torch again
    processes = [start(target=_write_ten_times, args=(folder, number)) for number in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 10
    images = folder.read_result()["splits"]["val"]["images"]
    with np.load(folder.path / "evaluation" / "val.npz") as arrays:
        assert set(arrays["pixels"]) == {images}


def test_the_name_of_a_split_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quickstart", "run", 0)
    folder.write_scores("../../val", {"images": 1}, COUNTS, ["a"])
    assert [path.name for path in tmp_path.rglob("*.npz")] == ["..%2F..%2Fval.npz"]
    assert "../../val" in folder.read_result()["splits"]


def test_a_changed_result_is_seen(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quickstart", "run", 0)
    folder.write_scores("val", {"miou": 0.5}, COUNTS, ["a"])
    result = json.loads(folder.result.read_text())
    folder.result.write_text(json.dumps(result))  # another format of the same content
    assert folder.read_result()["splits"] == {"val": {"miou": 0.5}}
    result["splits"]["val"]["miou"] = 0.6
    folder.result.write_text(json.dumps(result))
    with pytest.raises(RecipeError, match=r"result\.json: was changed after it was written"):
        folder.read_result()
    with pytest.raises(UnwrittenScoresError) as caught:  # or it would get a new checksum
        folder.write_scores("val", {"miou": 0.7}, COUNTS, ["a"])
    assert caught.value.scores == {"miou": 0.7}
    del result["checksum"]  # as the message says, and as older runs are
    folder.result.write_text(json.dumps(result))
    assert folder.read_result()["splits"] == {"val": {"miou": 0.6}}


def test_changed_counts_are_seen(tmp_path: Path) -> None:
    """Zip files have checksums, which NumPy checks."""
    folder = RunFolder.create(tmp_path, "quickstart", "run", 0)
    rng = np.random.default_rng(0)
    counts = {"pixels": rng.integers(0, 2**60, 1000)}
    folder.write_scores("val", {"images": 1}, counts, ["a"])
    file = folder.path / "evaluation" / "val.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises((BadZipFile, zlib.error)), np.load(file) as arrays:
        dict(arrays)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"null",
        b"",
        b"\xff",
        b"{",
        b'{"splits": 3, "cost": {}}',
        b'{"splits": {}}',
        b'{"splits": {"a\\nb": 3}, "cost": {}}',
        b'{"splits": {}, "cost": {"seconds": NaN}}',
        b'{"splits": {}, "cost": {"seconds": 1e999}}',
        b'{"splits": {}, "cost": {"seconds": true}}',
        b'{"splits": {"\\ud800": {}}, "cost": {}}',
        b"[" * 100_000,
        b"1" * 10_000,
    ],
)
def test_a_damaged_result_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    folder.result.write_bytes(content)
    with pytest.raises(RecipeError, match=r"result\.json: is damaged") as caught:
        folder.read_result()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"[]", b'{"plugin_files": [3]}', b'{"plugin_files": 3}', b'{"data": {"val": 1}}']
)
def test_a_damaged_provenance_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    folder.provenance.write_bytes(content)
    with pytest.raises(RecipeError, match=r"provenance\.json: is damaged") as caught:
        folder.read_provenance()
    assert "\n" not in str(caught.value)


def test_records_are_valid_json(tmp_path: Path) -> None:
    """NaN is no JSON, and never a score."""
    folder = RunFolder.create(tmp_path, "quickstart", "run", 0)
    with pytest.raises(DivergedError):
        folder.write_scores("val", {"miou": math.nan}, COUNTS, ["a"])
    folder.append_metrics({"epoch": 1})
    with pytest.raises(DivergedError):
        folder.append_metrics({"epoch": 2, "loss": math.inf})
    assert folder.metrics.read_text() == '{"epoch": 1}\n'
    assert not folder.result.exists()
    assert not list((folder.path / "evaluation").iterdir())
