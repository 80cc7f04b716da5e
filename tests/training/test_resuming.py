"""Runs that were stopped or killed, and go on: the same weights, records and scores, bit by bit."""

import json
import math
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from safetensors.torch import load_file

from hieraseg.cli import main
from hieraseg.runs.folder import RunFolder
from hieraseg.training.checkpoints import CheckpointWriter
from hieraseg.training.recorder import Recorder
from tests.support.processes import write_recipe
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]
SETTINGS = (
    *("--data.train_images", "12", "--data.val_images", "3", "--optimizer.momentum", "0.9"),
    *("--training.epochs", "3", "--checkpoints.every", "2 steps"),
)
"""Three epochs of three steps."""
CUT = ("--training.max_steps", "8")
"""So that the last epoch is not whole."""
TIMES = {"images_per_second", "waiting_for_data", "seconds", "checksum", "peak_memory_bytes"}


def without_times(value: Any) -> Any:
    """A JSON value without what differs from one execution to the next."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def outcome(run: Path) -> dict[str, Any]:
    """All that a run ends with."""
    files = {which: run / "checkpoints" / which / "model.safetensors" for which in ("last", "best")}
    return {
        "weights": {
            which: {name: tensor.tolist() for name, tensor in load_file(file).items()}
            for which, file in files.items()
        },
        "metrics": without_times(read_metrics(run)),
        "result": without_times(read_json(run / "result.json")),
    }


def resume(run: Path, *options: str) -> int:
    return main(["resume", str(run), *options])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def moments(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and copies of its folder as processes that were killed would leave it."""
    folder, save = tmp_path_factory.mktemp("moments"), CheckpointWriter.write
    names = (f"copy{number:02}" for number in range(100))

    def copying(self: CheckpointWriter, checkpoint: Any) -> None:
        """Before checkpoints are written, and after; `best` may have the weights of `last`."""
        run = self.folder.path
        shutil.copytree(run, folder / next(names))
        best = self.folder.checkpoint("best")
        save(self, checkpoint)
        shutil.copytree(run, folder / next(names))
        if checkpoint.is_best and best.with_name("best_2").is_dir():
            between = folder / next(names)
            shutil.copytree(run, between)
            shutil.rmtree(between / "checkpoints/best")
            (between / "checkpoints/best_2").rename(between / "checkpoints/best")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointWriter, "write", copying)
        assert main(["run", recipe, *SETTINGS, *CUT, "--out", str(folder / "runs")]) == 0
    return folder


def whole_run(moments: Path) -> Path:
    return next(moments.glob("runs/*/*"))


def test_wherever_a_run_is_killed_it_ends_the_same(moments: Path, tmp_path: Path) -> None:
    expected, resumed = outcome(whole_run(moments)), 0
    for copy in sorted(moments.glob("copy*")):
        run = shutil.copytree(copy, tmp_path / copy.name)
        if not (run / "checkpoints").exists():
            continue
        assert resume(run) == 0
        assert outcome(run) == expected, copy.name
        resumed += 1
    assert resumed > 10


def signalled(patch: pytest.MonkeyPatch, method: str, call: int, number: int) -> None:
    """Send a signal to this process in some call of a recorder's method."""
    own, calls = getattr(Recorder, method), iter(range(1, 100))

    def wrapper(self: Recorder, *arguments: Any) -> Any:
        result = own(self, *arguments)
        if next(calls) == call:
            signal.raise_signal(number)
        return result

    patch.setattr(Recorder, method, wrapper)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("method", "call", "step"),
    [
        ("save_step", 1, 1),
        ("save_step", 3, 3),
        ("save_step", 5, 5),
        ("check", 3, 3),
        ("save_epoch", 2, 6),
    ],
)
def test_a_signal_saves_the_state_after_the_step(
    moments: Path,
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    number: int,
    method: str,
    call: int,
    step: int,
) -> None:
    """In a step, between two, in the last one of an epoch, and when an epoch is written."""
    with monkeypatch.context() as patch:
        signalled(patch, method, call, number)
        code = main(["run", recipe, *SETTINGS, *CUT, "--out", str(tmp_path)])
    assert code == (75 if number == signal.SIGTERM else 130)
    (run,) = tmp_path.glob("*/*")
    assert f"go on with `hieraseg resume {run}`" in capsys.readouterr().err
    assert resume(run) == 0
    assert f"goes on after step {step}," in capsys.readouterr().err
    assert outcome(run) == outcome(whole_run(moments))


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    moments: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = shutil.copytree(sorted(moments.glob("copy*"))[-1], tmp_path / "run")
    state = run / "checkpoints/last/state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    assert resume(run) == 0
    error = capsys.readouterr().err
    assert f"{state}: is not the file that checksums.json was written for" in error
    assert "the one before is used" in error
    assert outcome(run) == outcome(whole_run(moments))


def test_without_a_checkpoint_it_says_what_to_do(moments: Path, capsys: Captured) -> None:
    run = sorted(moments.glob("copy*"))[0]
    assert resume(run) == 2
    assert "has no checkpoint to go on from; run its recipe again" in capsys.readouterr().err


def _change_data(run: Path) -> None:
    _change(run, lambda record: record["data"].update(train="other"))


def _change_component(run: Path) -> None:
    _change(run, lambda record: record["plugins"]["decoder"][0].update(sha256="other"))


def _change_package(run: Path) -> None:
    _change(run, lambda record: record["code"].update(version="0.0.1"))


def _change(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = read_json(run / "provenance.json")
    change(record)
    (run / "provenance.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change_data, "the data of split 'train'"),
        (_change_component, "the code of decoder 'pointwise'"),
        (_change_package, "hieraseg itself (version 0.0.1 -> "),
    ],
)
def test_what_has_changed_is_refused(
    moments: Path, tmp_path: Path, capsys: Captured, change: Callable[[Path], None], message: str
) -> None:
    run = shutil.copytree(sorted(moments.glob("copy*"))[4], tmp_path / "run")
    change(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert resume(run) == 2
    assert message in capsys.readouterr().err
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert after == before


def test_other_keys_cannot_be_changed(moments: Path, capsys: Captured) -> None:
    run = sorted(moments.glob("copy*"))[4]
    assert resume(run, "--optimizer.lr", "1") == 2
    assert "--optimizer.lr: cannot be changed when a run is resumed" in capsys.readouterr().err


def test_a_run_that_goes_on_elsewhere_is_left_alone(
    moments: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = shutil.copytree(sorted(moments.glob("copy*"))[4], tmp_path / "run")
    with FileLock(RunFolder(run).lock):
        assert resume(run) == 2
    assert "still runs" in capsys.readouterr().err


def test_a_finished_run_can_have_more_epochs(recipe: str, tmp_path: Path, capsys: Captured) -> None:
    """It goes on as one that had as many from the beginning, but for the learning rates so far."""
    assert main(["run", recipe, *SETTINGS, "--out", str(tmp_path)]) == 0
    (run,) = tmp_path.glob("*/*")
    assert resume(run) == 2
    assert "is finished after 3 epochs" in capsys.readouterr().err
    assert resume(run, "--training.epochs", "5") == 0
    assert [record["epoch"] for record in read_metrics(run)] == [1, 2, 3, 4, 5]
    assert read_json(run / "result.json")["cost"]["epochs"] == 5
    assert "epochs: 5\n" in (run / "recipe.yaml").read_text()
    rates = [record["learning_rate"] for record in read_metrics(run)]
    assert rates[2] == 0.0  # the end of three epochs
    assert rates[3] == pytest.approx(0.25 * (1 + math.cos(math.pi * 12 / 15)), rel=0.2)
