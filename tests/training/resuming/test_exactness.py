"""Wherever a run stops, it goes on as if it had not: weights, records and scores, bit by bit."""

import csv
import math
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.kills import outcome
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hieraseg.training.checkpoints import CheckpointWriter
from tests.support.resuming import KilledRuns, resume, signal_in, start
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]
BREAKING_PLUGIN = Path(__file__).parents[2] / "support/breaking_plugin.py"


def test_wherever_a_run_is_killed_it_ends_the_same(killed_runs: KilledRuns, tmp_path: Path) -> None:
    expected, resumed = outcome(killed_runs.whole), 0
    for copy in killed_runs.copies:
        if (copy / "checkpoints").exists():
            killed = shutil.copytree(copy, tmp_path / copy.name)
            assert resume(killed) == 0
            assert outcome(killed) == expected, copy.name
            resumed += 1
    assert resumed >= 9


SIGNALS = {signal.SIGTERM: 75, signal.SIGINT: 130}
"""Signals, and the exit codes after them."""
MOMENTS = [
    ("save_step", 1, 1),
    ("check", 3, 3),
    ("save_step", 5, 5),
    ("save_step", 3, 3),
    ("save_validation", 2, 6),
]
"""In some call of a method, and the step after which that is."""


def signals_and_moments() -> Iterator[Any]:
    """All pairs; each signal at every other moment is enough for `make test`."""
    for index, number in enumerate(SIGNALS):
        for place, moment in enumerate(MOMENTS):
            marks = [pytest.mark.slow] if (place - index) % 2 else []
            yield pytest.param(number, *moment, marks=marks)


@pytest.mark.parametrize(("number", "method", "call", "step"), list(signals_and_moments()))
def test_a_signal_saves_the_state_after_the_step(
    killed_runs: KilledRuns,
    recipe: str,
    tmp_path: Path,
    capsys: Captured,
    number: signal.Signals,
    method: str,
    call: int,
    step: int,
) -> None:
    """In a step, between two, in the last one of an epoch, and when an epoch is written."""
    with pytest.MonkeyPatch.context() as patch:
        signal_in(patch, method, call, number)
        code = start(recipe, tmp_path)
    assert code == SIGNALS[number]
    (stopped,) = tmp_path.glob("*/*")
    assert f"go on with `hieraseg resume {stopped}`" in capsys.readouterr().err
    assert resume(stopped) == 0
    assert f"goes on after step {step}," in capsys.readouterr().err
    assert outcome(stopped) == outcome(killed_runs.whole)


def resumed_and_whole(recipe: str, folder: Path, *options: str) -> tuple[Path, Path]:
    """A run that was stopped after step 5 and went on, and one that was not stopped."""
    assert start(recipe, folder / "whole", *options) == 0
    with pytest.MonkeyPatch.context() as patch:
        signal_in(patch, "save_step", 5, signal.SIGTERM)
        assert start(recipe, folder / "stopped", *options) == 75
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


def test_steps_between_validations_and_patience_go_on(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    capsys.readouterr()
    assert resume(resumed) == 0
    said = f"{resumed}: stopped early after epoch 4, because loss did not improve"
    assert said in capsys.readouterr().err
    for key, value in (("validation.patience", "1"), ("training.epochs", "7")):
        assert resume(resumed, f"--{key}", value) == 2
        assert said in capsys.readouterr().err


def test_steps_that_were_skipped_go_on_to_count(recipe: str, tmp_path: Path) -> None:
    """The fourth, before the run is stopped."""
    options = (
        *("--plugin", str(BREAKING_PLUGIN), "--loss", "breaking", "--loss.at", str(3 / 8)),
        *("--training.on_nonfinite", "skip"),
    )
    resumed, whole = resumed_and_whole(recipe, tmp_path, *options)
    assert outcome(resumed) == outcome(whole)
    assert [record["skipped_steps"] for record in read_metrics(resumed)] == [0, 1, 0]


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
        assert start(recipe, tmp_path, *changed) == 0
    killed, (whole,) = tmp_path / "killed", tmp_path.glob("uneven/*")
    assert "\n6," in (killed / "curves.csv").read_text()
    assert resume(killed) == 0
    rows, expected = (
        [
            {key: value for key, value in row.items() if not key.startswith(("speed", "memory"))}
            for row in csv.DictReader((folder / "curves.csv").open())
        ]
        for folder in (killed, whole)
    )
    assert rows == expected
    assert [row["step"] for row in rows] == ["3", "6", "8"]
    events = EventAccumulator(str(killed / "tensorboard")).Reload()
    assert [one.step for one in events.Scalars("loss/train")] == [3, 6, 8]
    assert [one.step for one in events.Images("confusion/level_1")] == [3, 6, 8]


def test_images_may_be_stored_elsewhere(
    killed_runs: KilledRuns, killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another cache, and not decoded, but read from files whenever they are needed."""
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    assert resume(killed, "--input.store", "files") == 0
    assert "store: files\n" in (killed / "recipe.yaml").read_text()
    assert outcome(killed) == outcome(killed_runs.whole)
