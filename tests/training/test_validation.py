"""When a run is validated, which score decides what is best, and when it stops early."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.kills import outcome

from hieraseg.cli import main
from hieraseg.metrics import summarize
from hieraseg.runs.checkpoint import read_metadata
from hieraseg.training.intervals import Plan
from tests.support.processes import write_recipe
from tests.support.runs import read_json, read_metrics

Captured = pytest.CaptureFixture[str]
SIZES = ("--data.train_images", "12", "--data.val_images", "2", "--optimizer.momentum", "0.9")
"""Epochs of three steps."""


@pytest.fixture(scope="module", autouse=True)
def no_figures() -> Iterator[None]:
    """Runs draw no figures, which would take half of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hieraseg.training.recorder.save_run_figures", lambda *arguments: None)
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_recipe(tmp_path_factory.mktemp("recipe"))


def run(recipe: str, out: Path, *options: str) -> Path:
    assert main(["run", recipe, *SIZES, *options, "--out", str(out)]) == 0
    (folder,) = out.glob("*/*")
    return folder


@pytest.mark.parametrize(
    ("every", "steps"),
    [("1 epoch", [3, 6, 8]), ("2 epochs", [6, 8]), ("2 steps", [2, 4, 6, 8]), ("9 steps", [8])],
)
def test_a_run_is_validated_when_the_recipe_says_so(
    recipe: str, tmp_path: Path, capsys: Captured, every: str, steps: list[int]
) -> None:
    options = ("--training.epochs", "3", "--training.max_steps", "8", "--validation.every", every)
    folder = run(recipe, tmp_path, *options)
    records = read_metrics(folder)
    assert [record["step"] for record in records] == steps
    assert [record["epoch"] for record in records] == [-(-step // 3) for step in steps]
    assert [record["passes"] for record in records] == [step / 3 for step in steps]
    scores = [record["val"]["levels"][-1]["miou"] for record in records]
    best = steps[scores.index(max(scores))]
    result = read_json(folder / "result.json")
    assert result["splits"]["val"]["levels"][-1]["miou"] == max(scores)
    assert result["splits"]["val"]["step"] == best
    assert result["splits"]["val"]["epoch"] == -(-best // 3)
    assert read_metadata(folder / "checkpoints/best")["step"] == best
    assert read_metadata(folder / "checkpoints/last")["step"] == 8
    assert result["cost"]["validations"] == len(steps)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    expected = ", step 2/8: loss" if every == "2 steps" else ": loss"
    assert len(said) == len(steps)
    assert expected in said[0]


def test_validation_changes_nothing_of_training(recipe: str, tmp_path: Path) -> None:
    """The same weights, and means of the same losses, whenever it is and whatever it computes."""
    usual = run(recipe, tmp_path / "usual")
    options = ("--validation.every", "1 step", "--validation.loss", "true")
    often = run(recipe, tmp_path / "often", *options)
    assert outcome(usual)["last"] == outcome(often)["last"]
    losses = [record["loss"] for record in read_metrics(often)]
    assert [record["loss"] for record in read_metrics(usual)] == pytest.approx(
        [sum(losses[:3]) / 3, sum(losses[3:]) / 3]
    )


@pytest.mark.parametrize(("every", "saved"), [("2 steps", {2, 4, 6}), ("1 epoch", {3, 6})])
def test_checkpoints_have_an_interval_of_their_own(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: str, saved: set[int]
) -> None:
    """They are also written after the best validations, of which this run has one, and the last."""
    written = set[int]()

    def note(folder: Path, weights: Any, metadata: dict[str, Any], *_: Any, **options: Any) -> None:
        written.add(metadata["step"])

    monkeypatch.setattr("hieraseg.training.checkpoints.save_checkpoint", note)
    monkeypatch.setattr("hieraseg.training.recorder.load_checkpoint", lambda *arguments: None)
    settings = (
        "--training.epochs",
        "3",
        "--validation.every",
        "7 steps",
        "--optimizer.lr",
        "1.0e-30",
    )
    run(recipe, tmp_path, *settings, "--checkpoints.every", every)
    assert written - {8} == saved | {7, 9}


MONITORS: dict[str, Any] = {
    "miou@1": lambda val: val["levels"][0]["miou"],
    "miou@mean": lambda val: sum(level["miou"] for level in val["levels"]) / 3,
    "pixel_accuracy": lambda val: val["levels"][2]["pixel_accuracy"],
    "mistake_distance": lambda val: -val["mistake_distance"],
    "loss": lambda val: -val["loss"],
}


@pytest.mark.parametrize("monitor", MONITORS)
def test_any_score_decides_what_is_best(recipe: str, tmp_path: Path, monitor: str) -> None:
    """The learning rate is so high that scores go up and down."""
    options = ("--training.epochs", "4", "--validation.loss", "true")
    folder = run(recipe, tmp_path, *options, "--validation.monitor", monitor)
    records = read_metrics(folder)
    scores = [MONITORS[monitor](record["val"]) for record in records]
    assert len(set(scores)) > 1
    result = read_json(folder / "result.json")
    best = records[scores.index(max(scores))]
    assert result["splits"]["val"]["step"] == best["step"]
    assert result["splits"]["val"]["levels"][0]["miou"] == best["val"]["levels"][0]["miou"]
    resolved = "pixel_accuracy@3" if monitor == "pixel_accuracy" else monitor
    assert result["cost"]["monitor"] == best["monitor"] == resolved
    assert best["score"] == pytest.approx(abs(max(scores)))
    levels = {"miou@1": 1, "pixel_accuracy": 3}
    assert result["cost"]["best_level"] == levels.get(monitor)


@pytest.mark.parametrize(
    ("monitor", "problem"),
    [
        ("miuo", "unknown score 'miuo', did you mean 'miou'?"),
        ("mIoU", "unknown score 'mIoU', did you mean 'miou'?"),
        ("miou@means", "did you mean 'miou@mean'?"),
        ("coherence@2", "unknown score 'coherence@2', did you mean 'coherence'?"),
        ("miou@4", "miou@4: the class tree has the levels 1 to 3"),
        ("loss", "the loss is only computed with validation.loss: true"),
    ],
)
def test_a_score_that_there_is_not_is_refused_before_training(
    recipe: str, capsys: Captured, monitor: str, problem: str
) -> None:
    assert main(["validate", recipe, "--validation.monitor", monitor]) == 2
    said = capsys.readouterr().out
    assert said.startswith("command line: validation.monitor: ")
    assert problem in said


def test_a_run_with_such_a_score_does_not_begin(
    recipe: str, tmp_path: Path, capsys: Captured
) -> None:
    options = ("--validation.monitor", "miou@4", "--out", str(tmp_path / "runs"))
    assert main(["run", recipe, *options]) == 2
    assert "validation.monitor: miou@4: the class tree" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_score_without_labels_is_said_and_the_last_one_is_the_best(
    recipe: str, tmp_path: Path, capsys: Captured
) -> None:
    """The labels of val end on level 2. No patience is lost meanwhile."""
    options = ("--data.val_label", "8", "--validation.monitor", "miou@3")
    folder = run(recipe, tmp_path, *options, "--validation.patience", "1")
    said = capsys.readouterr().err
    assert said.count("val has no labels from which miou@3 could be computed, so all") == 1
    assert read_json(folder / "result.json")["splits"]["val"]["epoch"] == 2


# By hand: 0.3 is the best, and is followed by an equal and two lower ones.
SCORES = [0.1, 0.3, 0.2, 0.3, 0.25, 0.5, 0.4]


def follow(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let the mIoU of validations be these ones; the last one is that of the result."""
    coming = iter(scores)

    def scripted(*arguments: Any) -> dict[str, Any]:
        found = summarize(*arguments)
        found["levels"][-1]["miou"] = next(coming)
        return found

    monkeypatch.setattr("hieraseg.train.summarize", scripted)


@pytest.mark.parametrize(
    ("patience", "validations", "best"),
    [(1, 3, 2), (3, 5, 2), (4, 7, 6)],
)
def test_a_run_without_better_scores_stops_early(
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    patience: int,
    validations: int,
    best: int,
) -> None:
    follow(monkeypatch, SCORES)
    options = ("--training.epochs", "7", "--validation.patience", str(patience))
    folder = run(recipe, tmp_path, *options)
    records, result = read_metrics(folder), read_json(folder / "result.json")
    assert len(records) == result["cost"]["epochs"] == validations
    assert result["splits"]["val"]["epoch"] == best
    assert result["cost"]["stopped_early"] == (validations < 7)
    assert read_metadata(folder / "checkpoints/last")["step"] == 3 * validations
    sentence = f"mIoU has not improved since epoch 2 (validation.patience: {patience})"
    assert (sentence in capsys.readouterr().err) == (validations < 7)


def test_a_run_that_stopped_early_goes_on_with_more_patience(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """As one that had it from the beginning."""
    options = ("--training.epochs", "7")
    follow(monkeypatch, SCORES)
    expected = run(recipe, tmp_path / "whole", *options, "--validation.patience", "3")
    follow(monkeypatch, SCORES)
    folder = run(recipe, tmp_path / "stopped", *options, "--validation.patience", "2")
    capsys.readouterr()
    for code, more in (
        (0, ()),
        (2, ("--training.epochs", "9")),
        (2, ("--validation.patience", "1")),
    ):
        assert main(["resume", str(folder), *more]) == code
        assert "increase --validation.patience" in capsys.readouterr().err
    follow(monkeypatch, SCORES[4:])
    assert main(["resume", str(folder), "--validation.patience", "3"]) == 0
    assert outcome(folder) == outcome(expected)
    assert "patience: 3\n" in (folder / "recipe.yaml").read_text()


def test_moments_in_words() -> None:
    plan = Plan(total_steps=8, steps_per_epoch=3, validate_every=2)
    assert [plan.moment(step) for step in (3, 4, 6, 8)] == [
        "epoch 1",
        "step 4",
        "epoch 2",
        "epoch 3",
    ]
    assert [plan.next_validation(step) for step in (0, 1, 2, 6, 7)] == [2, 2, 4, 8, 8]
