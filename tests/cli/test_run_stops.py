"""Runs that end early: signals, and seeds that fail."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from hieraseg.cli import main
from hieraseg.errors import DataError, DivergedError, UnwrittenScoresError
from hieraseg.recipe import Recipe
from hieraseg.runs.checkpoint import read_metadata, read_state
from hieraseg_plugins.datasets.mannequins import Mannequins
from tests.support.runs import QUICKSTART, SMALL, read_json

if TYPE_CHECKING:
    from hieraseg.training.graph import TakeStep
    from hieraseg.training.setup import Parts
    from hieraseg.training.state import State

Captured = pytest.CaptureFixture[str]
SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
SCORES = {
    "levels": [{"level": 1, "miou": 0.5, "iou": {"a [b]": 0.5}}],
    "images": 1,
    "resolution": "native",
    "tta": "scales 1",
}


class Folder:
    """Stands for the folder of a finished run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_result(self) -> dict[str, Any]:
        return {"splits": {"val": SCORES}, "cost": {}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder `runs` is that of each test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> dict[int, BaseException]:
    """Errors by seed, which training raises instead of training."""
    errors: dict[int, BaseException] = {}

    def train(recipe: Recipe, out: Path, name: str) -> Folder:
        seed = recipe.training.seed
        if seed in errors:
            raise errors[seed]
        return Folder(out / f"{name}-seed{seed}")

    monkeypatch.setattr("hieraseg.train.train", train)
    return errors


def run(*arguments: str) -> int:
    return main(["run", *arguments, QUICKSTART, *SMALL])


def seeds_in(stdout: str) -> list[str]:
    return [Path(one["run"]).name.rpartition("-")[2] for one in json.loads(stdout)]


def test_other_seeds_are_run_after_a_failure(
    failures: dict[int, BaseException], capsys: Captured
) -> None:
    """The exit code is that of the first failure, and each is named with its job."""
    failures |= {1: DivergedError("the loss is nan"), 3: DataError("x.jpg: damaged")}
    assert run("--json", "--seeds", "0", "1", "2", "3") == 4
    out, err = capsys.readouterr()
    assert seeds_in(out) == ["seed0", "seed2"]
    said = re.findall(r"^hieraseg: error: quickstart/\S+-(seed\d: .*)$", err, re.MULTILINE)
    assert said == ["seed1: the loss is nan (exit code 4)", "seed3: x.jpg: damaged (exit code 3)"]
    assert run("--seeds", "0", "1", "2") == 4
    assert [Path(line).name[-5:] for line in capsys.readouterr().out.splitlines()[-2:]] == [
        "seed0",
        "seed2",
    ]


def test_seeds_after_an_interrupt_are_named(
    failures: dict[int, BaseException], capsys: Captured
) -> None:
    failures[1] = KeyboardInterrupt("interrupted in epoch 2 of 3; ...")
    assert run("--json", "--seeds", "0", "1", "2", "3") == 130
    out, err = capsys.readouterr()
    assert seeds_in(out) == ["seed0"]
    assert re.search(r"not run: 2 jobs:\n  \S+-seed2\n  \S+-seed3\n", err)
    assert err.endswith("hieraseg: interrupted in epoch 2 of 3; ...\n")


def test_several_processes_do_not_outlive_a_failure(
    failures: dict[int, BaseException], capsys: Captured
) -> None:
    """But they diverge together, and go on."""
    failures[0] = DataError("x.jpg: damaged")
    assert run("--json", "--seeds", "0", "1", "--training.devices", "2") == 3
    out, err = capsys.readouterr()
    assert not out
    assert re.search(r"not run: \S+-seed1\n", err)
    failures[0] = DivergedError("the loss is nan")
    assert run("--json", "--seeds", "0", "1", "--training.devices", "2") == 4
    assert seeds_in(capsys.readouterr().out) == ["seed1"]


def test_scores_that_could_not_be_written_are_printed(
    failures: dict[int, BaseException], capsys: Captured
) -> None:
    failures[0] = UnwrittenScoresError("result.json: no space left", SCORES)
    assert run() == 2
    out, err = capsys.readouterr()
    assert "1 a [b]" in out
    assert err.endswith("hieraseg: error: result.json: no space left\n")
    assert run("--json") == 2
    (result,) = json.loads(capsys.readouterr().out)
    assert result == {"run": None, "splits": {"val": SCORES}, "cost": {}}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--seeds", "0", "1", "0"], "--seeds: duplicate 0"),
        (["--seeds", "-1"], "--seeds: must be a non-negative integer, got '-1'"),
        (["--seeds", "1.5"], "--seeds: must be a non-negative integer, got '1.5'"),
        (["--seeds", "4294967296"], "training.seed: must be in [0, 4294967296), got 4294967296"),
        (["--seeds", "1", "--training.seed", "2"], "--seeds: conflicts with --training.seed"),
    ],
)
def test_seeds_that_cannot_be_run(arguments: list[str], expected: str, capsys: Captured) -> None:
    assert run(*arguments) == 2
    assert expected in capsys.readouterr().err


@pytest.fixture
def default_handlers() -> Iterator[None]:
    """What a command finds in a shell; they must be the same afterwards."""
    before = [signal.signal(number, signal.SIG_DFL) for number in SIGNALS[:2]]
    yield
    assert [signal.getsignal(number) for number in SIGNALS[:2]] == [signal.SIG_DFL] * 2
    for number, handler in zip(SIGNALS, before, strict=False):
        signal.signal(number, handler)


def send_at_step(
    monkeypatch: pytest.MonkeyPatch, number: int, step: int, sent: threading.Event | None = None
) -> None:
    """Let a signal arrive in a step of training, and set an event."""
    from hieraseg import train

    open_step = train.open_step

    def open_interrupted_step(parts: "Parts", state: "State") -> "TakeStep":
        take_step = open_step(parts, state)

        def take_interrupted_step(batch: Any) -> None:
            take_step(batch)
            if state.step == step:
                if sent is not None:
                    sent.set()
                os.kill(os.getpid(), number)

        return take_interrupted_step

    monkeypatch.setattr(train, "open_step", open_interrupted_step)


@pytest.mark.usefixtures("default_handlers")
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signals_name_the_epoch_and_the_folder(
    number: signal.Signals, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_at_step(monkeypatch, number, step=4)  # epochs have three steps
    code = run("--out", str(tmp_path), "--training.epochs", "3")
    assert code == (130 if number == signal.SIGINT else 75)
    out, err = capsys.readouterr()
    (folder,) = tmp_path.glob("*/*")
    assert not out
    assert err.endswith(
        "interrupted in epoch 2 of 3; the checkpoints of step 4 and of the best one, epoch 1, are "
        f"kept in {folder}; go on with `hieraseg resume {folder}`\n"
    )
    assert read_state(folder / "checkpoints/last")["progress"]["step"] == 4
    assert not (folder / "result.json").exists()


@pytest.mark.usefixtures("default_handlers")
def test_interrupt_while_a_checkpoint_is_written(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is finished first, then that of the step that was taken."""
    from hieraseg.runs import checkpoint

    save_file = checkpoint.save_file
    interrupted = threading.Event()

    def slow(*arguments: Any) -> None:
        assert interrupted.wait(60)
        save_file(*arguments)

    monkeypatch.setattr(checkpoint, "save_file", slow)
    send_at_step(monkeypatch, signal.SIGINT, step=4, sent=interrupted)
    assert run("--out", str(tmp_path), "--training.epochs", "3") == 130
    (folder,) = tmp_path.glob("*/*")
    assert f"go on with `hieraseg resume {folder}`\n" in capsys.readouterr().err
    assert read_metadata(folder / "checkpoints/best")["epoch"] == 1
    assert read_state(folder / "checkpoints/last_2")["progress"]["step"] == 3
    assert read_state(folder / "checkpoints/last")["progress"]["step"] == 4


@pytest.mark.usefixtures("default_handlers")
def test_interrupt_while_figures_are_drawn(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("hieraseg.training.recorder.save_run_figures", interrupt)
    assert run("--out", str(tmp_path), "--training.epochs", "1") == 130
    (folder,) = tmp_path.glob("*/*")
    assert (folder / "result.json").is_file()
    said = capsys.readouterr().err
    assert said.endswith(
        "hieraseg: interrupted after epoch 1 of 1, while figures were drawn; "
        f"the result of the run is complete in {folder}\n"
    )


@pytest.mark.usefixtures("default_handlers")
def test_interrupt_of_a_run_without_checkpoints(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_at_step(monkeypatch, signal.SIGTERM, step=1)
    options = ("--training.epochs", "3", "--checkpoints.every", "null")
    assert run("--out", str(tmp_path), *options) == 75
    (folder,) = tmp_path.glob("*/*")
    assert capsys.readouterr().err.endswith(
        f"hieraseg: interrupted in epoch 1 of 3; {folder} has no checkpoint; go on with the same "
        "command and --resume\n"
    )


@pytest.mark.usefixtures("default_handlers")
def test_signal_while_images_are_scored(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation is cut short, and done again when the run goes on."""
    from hieraseg.metrics import scoring

    predict, signals = scoring.predict_images, iter([signal.SIGTERM])

    def interrupted(*arguments: Any) -> Any:
        for number in signals:
            os.kill(os.getpid(), number)
        return predict(*arguments)

    monkeypatch.setattr(scoring, "predict_images", interrupted)
    options = ("--training.epochs", "1", "--evaluation.batch_size", "1")
    assert run("--out", str(tmp_path), *options) == 75
    (folder,) = tmp_path.glob("*/*")
    assert "interrupted in epoch 1 of 1; the checkpoint" in capsys.readouterr().err
    assert not (folder / "metrics.jsonl").exists()
    assert main(["resume", str(folder)]) == 0
    assert read_json(folder / "result.json")["splits"]["val"]["images"] == 5


def test_nohup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that is ignored stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        send_at_step(monkeypatch, signal.SIGHUP, step=1)
        assert run("--out", str(tmp_path), "--training.max_steps", "2") == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert read_json(next(tmp_path.glob("*/*/result.json")))["cost"]["steps"] == 2


@pytest.mark.usefixtures("default_handlers")
def test_interrupt_while_images_are_decoded(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no run folder then, and nothing is left in the cache."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("HIERASEG_CACHE", str(cache))
    image = Mannequins.image

    def interrupted_image(self: Mannequins, id: str) -> Any:
        if id.endswith("2"):
            os.kill(os.getpid(), signal.SIGTERM)
        return image(self, id)

    monkeypatch.setattr(Mannequins, "image", interrupted_image)
    assert run("--out", str(tmp_path / "runs")) == 75
    err = capsys.readouterr().err
    assert err.endswith("hieraseg: interrupted; go on with the same command and --resume\n")
    assert not (tmp_path / "runs").exists()
    left = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not left
