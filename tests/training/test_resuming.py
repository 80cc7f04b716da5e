"""Runs that were stopped or killed, and go on: the same weights, records and scores, bit by bit."""

import csv
import errno
import json
import math
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from benchmarks.kills import outcome
from filelock import FileLock
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hieraseg.cli import main
from hieraseg.files.writing import versions
from hieraseg.runs import checkpoint, ending
from hieraseg.runs.checkpoint import (
    read_checkpoint,
    read_metadata,
    read_state,
    save_checkpoint,
)
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.resuming import MAY_CHANGE
from hieraseg.training.checkpoints import CheckpointWriter
from hieraseg.training.recorder import Recorder
from hieraseg.training.saved import newest_saved
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


def contents(folder: Path) -> dict[Path, bytes]:
    """All files in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resume(run: Path, *options: str) -> int:
    return main(["resume", str(run), *options])


@pytest.fixture(scope="module", autouse=True)
def no_figures() -> Iterator[None]:
    """Runs draw no figures, which would take half of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hieraseg.training.recorder.save_run_figures", lambda *arguments: None)
        yield


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
        ("save_validation", 2, 6),
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


def resumed_and_whole(recipe: str, folder: Path, *options: str) -> tuple[Path, Path]:
    """A run that was stopped after step 5 and went on, and one that was not stopped."""
    options = (*SETTINGS, *CUT, *options)
    assert main(["run", recipe, *options, "--out", str(folder / "whole")]) == 0
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, "save_step", 5, signal.SIGTERM)
        assert main(["run", recipe, *options, "--out", str(folder / "stopped")]) == 75
    (stopped,), (whole,) = (folder.glob(f"{name}/*/*") for name in ("stopped", "whole"))
    assert resume(stopped) == 0
    return stopped, whole


def test_averages_of_weights_and_norms_of_gradients_go_on(recipe: str, tmp_path: Path) -> None:
    options = (
        *("--training.ema", "0.9", "--training.clip_norm", "0.1"),
        *("--training.accumulate", "2", "--training.deterministic", "true"),
    )
    resumed, whole = resumed_and_whole(recipe, tmp_path, *options)
    assert outcome(resumed) == outcome(whole)
    assert "gradient_norm" in read_metrics(resumed)[1]


def test_rare_classes_hard_pixels_and_restarts_go_on(
    recipe: str, tmp_path: Path, capsys: Captured
) -> None:
    options = (
        *("--training.repeat_threshold", "1"),
        *("--schedule", "{name: cosine_restarts, period: 1 epoch, growth: 2, warmup: 1 step}"),
        *("--loss", "{name: ohem, loss: {name: marginal_ce, label_smoothing: 0.1}}"),
    )
    resumed, whole = resumed_and_whole(recipe, tmp_path, *options)
    assert outcome(resumed) == outcome(whole)
    assert capsys.readouterr().err.count("the rarest class, are ") == 3
    # Steps 1 to 3 after one of warm-up are the first cosine, and steps 4 to 9 the second.
    rates = [record["learning_rate"] for record in read_metrics(resumed)]
    fractions = [2 / 3, 2 / 6, 4 / 6]
    expected = [0.25 * (1 + math.cos(math.pi * fraction)) for fraction in fractions]
    assert rates == pytest.approx(expected)


def test_steps_between_validations_and_patience_go_on(recipe: str, tmp_path: Path) -> None:
    """Steps 5 to 8, which are of two epochs."""
    options = (
        *("--training.epochs", "6", "--training.max_steps", "18", "--optimizer.lr", "1.0e-30"),
        *("--validation.every", "4 steps", "--validation.patience", "2"),
        *("--validation.loss", "true", "--validation.monitor", "loss"),
    )
    resumed, whole = resumed_and_whole(recipe, tmp_path, *options)
    assert outcome(resumed) == outcome(whole)
    assert [record["step"] for record in read_metrics(resumed)] == [4, 8, 12]
    assert read_json(resumed / "result.json")["cost"]["stopped_early"]


def test_steps_that_were_skipped_go_on_to_count(recipe: str, tmp_path: Path) -> None:
    """The fourth, before the run is stopped."""
    plugin = str(Path(__file__).parents[1] / "support/breaking_plugin.py")
    options = (
        *("--plugin", plugin, "--loss", "breaking", "--loss.at", str(3 / 8)),
        *("--training.on_nonfinite", "skip"),
    )
    resumed, whole = resumed_and_whole(recipe, tmp_path, *options)
    assert outcome(resumed) == outcome(whole)
    assert [record["skipped_steps"] for record in read_metrics(resumed)] == [0, 1, 0]


def truncate(folder: Path) -> None:
    state = folder / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])


def flip_a_byte(folder: Path) -> None:
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def remove_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "a byte flipped": flip_a_byte,
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no state": lambda folder: (folder / "state.pt").unlink(),
    "no checksums": lambda folder: (folder / "checksums.json").unlink(),
    "no file": remove_all,
}


def with_versions(moments: Path, folder: Path, steps: list[int]) -> Path:
    """A copy of a run that was killed when the versions of `last` were of these steps."""
    for copy in sorted(moments.glob("copy*")):
        found = versions(copy / "checkpoints/last")
        if [read_metadata(path)["step"] for path in found] == steps:
            (copy / "run.lock").unlink(missing_ok=True)
            return Path(shutil.copytree(copy, folder / "run"))
    raise AssertionError


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    moments: Path, tmp_path: Path, capsys: Captured, damage: str
) -> None:
    run = with_versions(moments, tmp_path, [8, 6])
    DAMAGES[damage](run / "checkpoints/last")
    saved = newest_saved(RunFolder(run))
    assert (saved.last.name, saved.state["progress"]["step"]) == ("last_2", 6)
    pattern = rf"warning: {run}/checkpoints/last[/:].*; the checkpoint before is used, of step 6"
    assert re.search(pattern, capsys.readouterr().err)


@pytest.mark.parametrize("damage", ["a byte flipped", "no file"])
def test_best_weights_that_are_damaged_are_those_of_an_older_checkpoint(
    moments: Path, tmp_path: Path, capsys: Captured, damage: str
) -> None:
    run = with_versions(moments, tmp_path, [8, 6])
    DAMAGES[damage](run / "checkpoints/best")
    assert resume(run) == 0
    error = capsys.readouterr().err
    assert f"warning: {run}/checkpoints/last: needs the best weights until then, of step" in error
    assert "goes on after step 6," in error
    assert outcome(run) == outcome(whole_run(moments))


def test_the_checkpoint_of_another_run_is_named(
    moments: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = with_versions(moments, tmp_path, [8, 6])
    last = run / "checkpoints/last"
    weights, metadata = read_checkpoint(last / "model.safetensors")
    save_checkpoint(last, weights, {**metadata, "recipe": "0" * 64}, read_state(last), keep=2)
    shutil.rmtree(last.with_name("last_2"))
    assert resume(run) == 2
    error = capsys.readouterr().err
    assert f"has no checkpoint that can be used ({last}: is of another run, with" in error


def test_where_all_checkpoints_are_damaged_it_says_what_to_do(
    moments: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = with_versions(moments, tmp_path, [8, 6])
    truncate(run / "checkpoints/last")
    flip_a_byte(run / "checkpoints/last_2")
    before = contents(run)
    assert resume(run) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "has no checkpoint that can be used (" in line
    assert "/last/state.pt: is not the file" in line
    assert "/last_2/model.safetensors: is not the file" in line
    assert line.endswith(f"; run its recipe again with `hieraseg run {run}/recipe.yaml`")
    assert contents(run) == before


def test_what_killed_processes_left_is_removed_and_never_used(
    moments: Path, tmp_path: Path, capsys: Captured
) -> None:
    """Beside a checkpoint that is damaged, so that another one is wanted."""
    run = with_versions(moments, tmp_path, [8, 6])
    checkpoints = run / "checkpoints"
    for which in ("last", "best"):
        shutil.copytree(checkpoints / which, checkpoints / f"{which}.0123abcd.unfinished")
    flip_a_byte(checkpoints / "last")
    assert resume(run) == 0
    assert "goes on after step 6," in capsys.readouterr().err
    assert {path.name for path in checkpoints.iterdir()} == {"last", "last_2", "best", "best_2"}
    assert outcome(run) == outcome(whole_run(moments))


@pytest.mark.parametrize(
    ("name", "number", "fix"),
    [
        ("_save_state", errno.ENOSPC, "free space on its disk"),
        ("save_file", errno.EROFS, "choose a disk that is writable"),
    ],
)
def test_a_disk_that_cannot_be_written_leaves_the_checkpoint_before(
    moments: Path,
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    name: str,
    number: int,
    fix: str,
) -> None:
    own, calls = getattr(checkpoint, name), iter(range(1, 100))

    def full(content: Any, path: Path, *arguments: Any) -> None:
        if next(calls) > 3:
            path.write_bytes(b"a part")
            raise OSError(number, os.strerror(number))
        own(content, path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, name, full)
        assert main(["run", recipe, *SETTINGS, *CUT, "--out", str(tmp_path)]) == 2
    (run,) = tmp_path.glob("*/*-seed*")
    error = capsys.readouterr().err
    assert f"cannot be written ({os.strerror(number)}); {fix}" in error
    assert f"`hieraseg resume {run}`" in error
    assert not list(run.glob("checkpoints/*unfinished"))
    assert resume(run) == 0
    assert outcome(run) == outcome(whole_run(moments))


def test_a_run_folder_that_vanishes_is_one_sentence(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    save, calls = CheckpointWriter.write, iter(range(1, 100))

    def remove(self: CheckpointWriter, saved: Any) -> None:
        if next(calls) == 2:
            shutil.rmtree(self.folder.path)
        save(self, saved)

    monkeypatch.setattr(CheckpointWriter, "write", remove)
    assert main(["run", recipe, *SETTINGS, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "last: cannot be written (No such file or directory)" in error
    assert "its folder was removed meanwhile, so start again" in error
    assert not list(tmp_path.glob("*/*"))


def test_images_may_be_stored_elsewhere(
    moments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another cache, and not decoded, but read from files whenever they are needed."""
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    run = shutil.copytree(sorted(moments.glob("copy*"))[4], tmp_path / "run")
    assert resume(run, "--input.store", "files") == 0
    assert "store: files\n" in (run / "recipe.yaml").read_text()
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


def _change_file(run: Path) -> None:
    _change(run, lambda record: record["code"].update(sources="other", files={"train.py": "0"}))


def _change_recipe(run: Path) -> None:
    """By hand, which the recipe of the run's beginning shows."""
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("momentum: 0.9", "momentum: 0.8"))


def _damage_recipe(run: Path) -> None:
    _change(run, lambda record: record.update(recipe="training: ["))


def _change(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = read_json(run / "provenance.json")
    change(record)
    (run / "provenance.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change_data, "the data of split 'train': 12 images, other -> 12 images, "),
        (_damage_recipe, "provenance.json: recipe: is damaged (not valid YAML"),
        (_change_recipe, "optimizer.momentum: 0.9 -> 0.8; undo that"),
        (_change_file, "hieraseg itself (sources: __init__.py, "),
        (_change_component, "the code of decoder 'pointwise'"),
        (_change_package, "hieraseg itself (version): 0.0.1 -> "),
    ],
)
def test_what_has_changed_is_refused(
    moments: Path, tmp_path: Path, capsys: Captured, change: Callable[[Path], None], message: str
) -> None:
    run = shutil.copytree(sorted(moments.glob("copy*"))[4], tmp_path / "run")
    (run / "run.lock").unlink(missing_ok=True)
    change(run)
    before = contents(run)
    assert resume(run) == 2
    assert message in capsys.readouterr().err
    assert contents(run) == before


def test_other_keys_cannot_be_changed(moments: Path, capsys: Captured) -> None:
    run = sorted(moments.glob("copy*"))[4]
    assert resume(run, "--optimizer.lr", "1") == 2
    said = capsys.readouterr().err
    assert "--optimizer.lr: cannot be changed when a run is resumed (0.5 -> 1); what can" in said


def test_the_help_names_all_keys_that_can_be_changed(capsys: Captured) -> None:
    assert main(["resume", "--help"]) == 0
    said = capsys.readouterr().out
    assert [key for key in MAY_CHANGE if key not in said] == []


def test_the_command_that_began_a_run_goes_on_with_it(
    moments: Path, recipe: str, tmp_path: Path, capsys: Captured
) -> None:
    """Again and again, as a cluster submits it; the last time there is nothing left to do."""
    whole = whole_run(moments)
    run = tmp_path / whole.parent.name / whole.name
    shutil.copytree(sorted(moments.glob("copy*"))[4], run)
    command = ["run", recipe, *SETTINGS, *CUT, "--out", str(tmp_path), "--resume"]
    assert main(command) == 0
    assert f"resumed: {run}, after step " in capsys.readouterr().err
    assert outcome(run) == outcome(whole)
    before = contents(run)
    assert main([*command, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["run"] == str(run)
    assert contents(run) == before
    assert list(run.parent.iterdir()) == [run]


def test_a_run_that_goes_on_elsewhere_is_left_alone(
    moments: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = shutil.copytree(sorted(moments.glob("copy*"))[4], tmp_path / "run")
    with FileLock(RunFolder(run).lock):
        assert resume(run) == 2
    assert "still runs" in capsys.readouterr().err


def test_curves_have_each_point_once(recipe: str, tmp_path: Path) -> None:
    """Also those that were logged after the checkpoint from which the run goes on."""
    changed = (
        *("--trackers", "[csv, tensorboard]", "--logging.images", "1"),
        *("--checkpoints.every", "4 steps"),
    )
    save = CheckpointWriter.write

    def copying(self: CheckpointWriter, checkpoint: Any) -> None:
        if checkpoint.metadata["step"] == 6:
            shutil.copytree(self.folder.path, tmp_path / "killed")
        save(self, checkpoint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointWriter, "write", copying)
        options = (*SETTINGS, *CUT, *changed, "--out", str(tmp_path))
        assert main(["run", recipe, *options]) == 0
    killed, (whole,) = tmp_path / "killed", tmp_path.glob("uneven/*")
    assert "\n6," in (killed / "curves.csv").read_text()
    assert resume(killed) == 0
    rows, expected = (
        [
            {key: value for key, value in row.items() if not key.startswith(("speed", "memory"))}
            for row in csv.DictReader((run / "curves.csv").open())
        ]
        for run in (killed, whole)
    )
    assert rows == expected
    assert [row["step"] for row in rows] == ["3", "6", "8"]
    events = EventAccumulator(str(killed / "tensorboard")).Reload()
    assert [one.step for one in events.Scalars("loss/train")] == [3, 6, 8]
    assert [one.step for one in events.Images("confusion/level_1")] == [3, 6, 8]


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


def test_a_run_goes_on_after_it_was_killed_each_time_that_it_was_to_go_on(
    moments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once between its recipe and its provenance, then before it has a checkpoint of its own."""
    run = shutil.copytree(sorted(moments.glob("copy*"))[4], tmp_path / "run")
    moments_of_death = ["hieraseg.training.restoring.write_json", "hieraseg.train.Recorder"]
    for patience, place in zip(("20", "21"), moments_of_death, strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(place, Mock(side_effect=SystemError))
            with pytest.raises(SystemError):
                resume(run, "--validation.patience", patience)
        ending.release(RunFolder(run), ending.hold(RunFolder(run)), None)
    assert resume(run, "--validation.patience", "21") == 0
    assert read_metrics(run)[-1]["step"] == 8


def test_records_after_the_checkpoint_may_be_damaged(moments: Path, tmp_path: Path) -> None:
    """They are computed again."""
    run = shutil.copytree(sorted(moments.glob("copy*"))[4], tmp_path / "run")
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\0" * 100 + b"\n")
    assert resume(run) == 0
    assert outcome(run) == outcome(whole_run(moments))
