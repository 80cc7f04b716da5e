"""What is written while training goes on: of its own epoch, in order, whole, and no error lost."""

import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hieraseg.errors import WriteError
from hieraseg.files.background import Background
from hieraseg.recipe import load
from hieraseg.runs import checkpoint
from hieraseg.runs.checkpoint import (
    load_checkpoint,
    read_metadata,
    read_state,
    save_checkpoint,
)
from hieraseg.training.new_run import new_folder
from hieraseg.training.recorder import Recorder
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from tests.training.test_state import OVERRIDES, equal

Captured = pytest.CaptureFixture[str]
SCORES: dict[str, Any] = {"levels": [{"level": 1, "miou": 0.5}], "coherence": None}
LONG = 60  # seconds, which no test waits


@pytest.fixture(scope="module")
def built() -> tuple[Parts, State]:
    return set_up(load("quickstart", OVERRIDES))


@pytest.fixture
def run(built: tuple[Parts, State], tmp_path: Path) -> tuple[State, Recorder]:
    """The state of a run after its first epoch of two steps, and its recorder."""
    parts, state = built
    state.step = state.scored = 0
    recorder = Recorder(parts, new_folder(parts, tmp_path / "runs", "run"), state)
    step(state)
    step(state)
    state.scored = state.step
    return state, recorder


def step(state: State) -> None:
    """A step that changes all weights and the optimizer's averages."""
    for parameter in state.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.optimizer.step()
    state.step += 1


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that writes weights only after the event is set."""
    released, save_file = threading.Event(), checkpoint.save_file

    def save(*arguments: Any) -> None:
        assert released.wait(LONG)
        save_file(*arguments)

    monkeypatch.setattr(checkpoint, "save_file", save)
    yield released
    released.set()


def record(epoch: int) -> dict[str, Any]:
    """A record as `Meter` makes it."""
    numbers = {"loss": 1.0, "learning_rate": 0.1, "terms": {"ce": 1.0}}
    times = {"images_per_second": 9.0, "waiting_for_data": 0.0}
    where = {"epoch": epoch, "step": 2 * epoch, "passes": float(epoch)}
    return {**where, **numbers, **times, "train": SCORES, "val": SCORES}


def copied(state: State) -> dict[str, Any]:
    """All that `State.state_dict` has, copied at once."""

    def copy(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: copy(one) for key, one in value.items()}
        if isinstance(value, list):
            return [copy(one) for one in value]
        return value.clone() if isinstance(value, Tensor) else value

    copy_of_all: dict[str, Any] = copy(state.state_dict())
    return copy_of_all


def test_training_goes_on_and_the_checkpoint_is_of_its_epoch(
    run: tuple[State, Recorder], slow_disk: threading.Event
) -> None:
    state, recorder = run
    last, best = (recorder.folder.checkpoint(which) for which in ("last", "best"))
    expected = copied(state)
    with recorder:
        recorder.save_validation(state, record(1), improved=True)
        step(state)  # while the disk is slow
        step(state)
        assert not last.exists()
        assert recorder.kept().endswith("has no checkpoint")
        slow_disk.set()
    assert recorder.kept() == f"; the checkpoint of epoch 1 is kept in {recorder.folder.path}"
    assert not equal(expected["model"], state.state_dict()["model"])
    found = read_state(last)
    assert equal(found, expected)
    assert read_metadata(last)["epoch"] == 1
    load_checkpoint(best, state.model)
    assert equal(state.state_dict()["model"], expected["model"])


def test_what_a_reader_sees_is_in_order(
    run: tuple[State, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of an epoch, then the checkpoint `last`, then `best`; then what is next."""
    state, recorder = run
    seen = list[str]()

    def note(self: Any, record: dict[str, Any]) -> None:
        seen.append(f"line {record['epoch']}")

    def save(folder: Path, *arguments: Any, **options: Any) -> None:
        time.sleep(0.01)
        seen.append(folder.name)

    monkeypatch.setattr("hieraseg.runs.folder.RunFolder.append_metrics", note)
    monkeypatch.setattr("hieraseg.training.checkpoints.save_checkpoint", save)
    monkeypatch.setattr(
        "hieraseg.training.recorder.load_checkpoint", lambda *arguments: seen.append("loaded")
    )
    with recorder:
        recorder.save_validation(state, record(1), improved=True)
        recorder.save_validation(state, record(2), improved=False)
        recorder.save_validation(state, record(3), improved=True)
        recorder.restore_best(state.model)
    expected = ["line 1", "last", "best", "line 2", "last", "line 3", "last", "best", "loaded"]
    assert seen == expected


def test_a_full_disk_ends_training_at_its_next_step(
    run: tuple[State, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, recorder = run
    with recorder:
        recorder.save_validation(state, record(1), improved=True)
    fsync = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    state.step = state.scored = 4

    def train() -> None:
        with recorder:
            recorder.save_validation(state, record(2), improved=True)
            while True:
                recorder.check()  # as after each step
                time.sleep(0.001)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteError, match=r"jsonl: cannot be written \(No space left"):
        train()
    monkeypatch.setattr("os.fsync", fsync)
    assert "checkpoint of epoch 1" in recorder.kept()
    assert read_metadata(recorder.folder.checkpoint("last"))["epoch"] == 1
    assert len(recorder.folder.metrics.read_text().splitlines()) == 1
    names = {path.name for path in (recorder.folder.path / "checkpoints").iterdir()}
    assert names == {"last", "best"}


def test_what_failed_meanwhile_is_said_beside_another_error(
    run: tuple[State, Recorder], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    state, recorder = run

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    def train() -> None:
        with recorder:
            recorder.save_validation(state, record(1), improved=True)
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ZeroDivisionError):
        train()
    expected = f"warning: {recorder.folder.checkpoint('last')}: cannot be written (No space"
    assert expected in capsys.readouterr().err
    assert recorder.kept().endswith("has no checkpoint")


def test_an_interrupt_waits_for_the_checkpoint(
    run: tuple[State, Recorder], slow_disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says what it waits for if that takes long."""
    state, recorder = run

    def log(message: str) -> None:
        if "press Ctrl-C again" in message:
            slow_disk.set()

    def train() -> None:
        with recorder:
            recorder.save_validation(state, record(1), improved=True)
            step(state)
            raise KeyboardInterrupt

    monkeypatch.setattr("hieraseg.training.recorder._PATIENCE", 0.01)
    monkeypatch.setattr("hieraseg.training.recorder.log", log)
    with pytest.raises(KeyboardInterrupt):
        train()
    assert read_metadata(recorder.folder.checkpoint("last"))["epoch"] == 1
    assert "checkpoint of epoch 1 is kept" in recorder.interrupted(state)


@pytest.mark.usefixtures("slow_disk")
def test_another_interrupt_does_not_wait(
    run: tuple[State, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, recorder = run
    at_exit, is_busy = list[tuple[Any, ...]](), Background.is_busy

    def interrupted(self: Background, seconds: float = 0.0) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return is_busy(self, seconds)

    def train() -> None:
        with recorder:
            recorder.save_validation(state, record(1), improved=True)
            monkeypatch.setattr(Background, "is_busy", interrupted)
            raise KeyboardInterrupt

    monkeypatch.setattr("atexit.register", lambda *arguments: at_exit.append(arguments))
    with pytest.raises(KeyboardInterrupt):
        train()
    assert "has no checkpoint; go on with the same command" in recorder.interrupted(state)
    ((_, exit_code),) = at_exit  # Python does not wait for the thread
    assert exit_code == 130


def test_without_checkpoints_the_best_weights_are_in_memory(
    run: tuple[State, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, recorder = run
    monkeypatch.setattr(recorder.checkpoints, "interval", None)
    expected = copied(state)["model"]
    with recorder:
        recorder.save_validation(state, record(1), improved=True)
        step(state)
        recorder.save_validation(state, record(2), improved=False)
        recorder.restore_best(state.model)
    assert equal(state.state_dict()["model"], expected)
    assert not (recorder.folder.path / "checkpoints").exists()


def write_until_killed(folder: Path) -> None:
    """Write one checkpoint after the other in a thread; all its values are the epoch."""
    background = Background()
    for epoch in range(1, 1_000_000):
        values = torch.full((100_000,), float(epoch))
        checkpoint = ({"weight": values}, {"epoch": epoch}, {"average": values})
        background.start(partial(save_checkpoint, folder, *checkpoint))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_a_killed_writer_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """SIGKILL at any time."""
    folder, chance = tmp_path / "last", random.Random(0)
    for _ in range(10):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of forking while there are threads
            process = os.fork()
        if process == 0:
            write_until_killed(folder)
        deadline = time.monotonic() + LONG
        while not folder.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.1)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        state, module = read_state(folder), nn.Linear(1, 1, bias=False)
        module.weight = nn.Parameter(torch.zeros(100_000))
        load_checkpoint(folder, module)
        (epoch,) = state["average"].unique()
        assert (module.weight == epoch).all()
