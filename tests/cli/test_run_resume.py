"""`hieraseg run --resume` of one run: a command that can be given again and again."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from filelock import FileLock

from hieraseg.cli import main
from hieraseg.runs.folder import RunFolder
from tests.cli.conftest import Training
from tests.support.earlier import LATER, unfinish
from tests.support.runs import QUICKSTART, SMALL, read_json

Captured = pytest.CaptureFixture[str]
Run = Callable[..., int]


@pytest.fixture
def resumed(training: Training, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stands for going on with a run."""
    mock = Mock(side_effect=lambda folder, recipe, command: RunFolder(training.finished))
    monkeypatch.setattr("hieraseg.train.resume", mock)
    return mock


def test_a_finished_run_is_said_and_its_scores_are_printed(
    run: Run, earlier: Path, training: Training, capsys: Captured
) -> None:
    assert run("--resume") == 0
    out, err = capsys.readouterr()
    assert f"skipped: {earlier} is finished" in err
    assert "miou" in out
    assert run("--resume", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["run"] == str(earlier)
    assert result["splits"]["val"] == read_json(earlier / "result.json")["splits"]["val"]
    assert not training.done


def test_without_an_earlier_run_it_is_a_new_one(
    run: Run, training: Training, resumed: Mock
) -> None:
    assert run("--resume") == 0
    assert training.done == [("tree_min", 0)]
    assert not resumed.called


def test_an_unfinished_run_goes_on(
    run: Run, earlier: Path, training: Training, resumed: Mock, capsys: Captured
) -> None:
    """Also if what changes no result has changed, such as when checkpoints are written."""
    unfinish(earlier)
    assert run("--resume", "--checkpoints.every", "5 steps", "--logging.images", "1") == 0
    assert resumed.call_args.args[0].path == earlier
    assert resumed.call_args.args[1].checkpoints.every == "5 steps"
    assert not training.done
    assert f"resumed: {earlier}, after step 6" in capsys.readouterr().err


def test_a_run_that_left_nothing_begins_anew_in_its_place(
    run: Run, earlier: Path, training: Training
) -> None:
    unfinish(earlier, *LATER)
    (earlier / "failure.json").write_text('{"state": "failed", "message": "out of memory"}')
    (earlier / "curves.csv").write_text("step\n")  # of a tracker
    (earlier / "checkpoints/last.0123abcd.unfinished").mkdir(parents=True)
    (earlier / f"{'0' * 16}.unfinished").touch()
    assert run("--resume") == 0
    assert training.done == [("tree_min", 0)]
    assert list(earlier.parent.iterdir()) == [earlier]
    assert not (earlier / "failure.json").exists()


@pytest.mark.parametrize("moved", [False, True])
def test_the_command_that_resume_names_begins_a_run_anew_in_its_place(
    trained_run: Path,
    earlier: Path,
    training: Training,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    moved: bool,
) -> None:
    unfinish(earlier, *LATER)
    provenance = read_json(earlier / "provenance.json")
    options = [*SMALL, "--training.epochs", "2", "--out", str(tmp_path)]
    provenance |= {"command": ["/bin/hieraseg", "run", "quickstart", *options, "--again"]}
    provenance |= {"folder": str(tmp_path)}
    (earlier / "provenance.json").write_text(json.dumps(provenance))
    monkeypatch.chdir(trained_run if moved else tmp_path)
    assert main(["resume", str(earlier)]) == 2
    sentence = "has no checkpoint to go on from; run its recipe again with `(.*)`"
    said = re.search(sentence, capsys.readouterr().err)
    assert said
    place, _, command = said[1].rpartition(" && ")
    assert place == (f"cd {tmp_path}" if moved else "")
    assert main(shlex.split(command)[1:]) == 0
    assert training.done == [("tree_min", 0)]
    assert list(earlier.parent.iterdir()) == [earlier]


def test_a_folder_that_was_copied_is_not_begun_anew_in_the_place_of_the_original(
    earlier: Path, tmp_path: Path, capsys: Captured
) -> None:
    unfinish(earlier, *LATER)
    provenance = read_json(earlier / "provenance.json")
    provenance |= {"command": ["hieraseg", "run", "quickstart", f"--out={tmp_path}"]}
    (earlier / "provenance.json").write_text(json.dumps(provenance))
    assert main(["resume", str(earlier)]) == 2
    assert f"`hieraseg run quickstart --out={tmp_path} --resume`" in capsys.readouterr().err
    copy = Path(shutil.copytree(earlier, tmp_path / "a/b/copy"))
    assert main(["resume", str(copy)]) == 2
    assert f"run its recipe again with `hieraseg run {copy}/recipe.yaml`" in capsys.readouterr().err


def test_what_others_put_into_a_run_folder_is_not_removed(
    run: Run, earlier: Path, training: Training
) -> None:
    unfinish(earlier, *LATER)
    (earlier / "notes.txt").touch()
    assert run("--resume") == 0
    assert training.done == [("tree_min", 0)]
    assert (earlier / "notes.txt").exists()


def test_runs_of_other_names_are_not_taken_for_repetitions(
    run: Run, earlier: Path, training: Training
) -> None:
    """As `base-runner-seed0` might be for one of `base-seed0`."""
    other = earlier.rename(earlier.with_name(earlier.name.replace("-seed", "-runner-seed")))
    (other / "result.json").unlink()
    assert run("--resume") == 0
    assert training.done == [("tree_min", 0)]


def test_a_run_that_still_runs_is_refused(
    run: Run, earlier: Path, training: Training, capsys: Captured
) -> None:
    unfinish(earlier)
    with FileLock(earlier / "run.lock"):
        assert run("--resume") == 2
    assert f"{earlier}: still runs; stop that process first" in capsys.readouterr().err
    assert not training.done


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_changed_recipe_is_refused_with_the_difference(
    run: Run,
    earlier: Path,
    training: Training,
    tmp_path: Path,
    capsys: Captured,
    is_finished: bool,
) -> None:
    """Of a recipe of the same name; one that differs on the command line is another run."""
    recipe = tmp_path / "quickstart.yaml"
    recipe.write_text(f"base: {QUICKSTART}\noptimizer: {{lr: 7.5}}\n")
    if not is_finished:
        unfinish(earlier)
    assert run("--resume", recipe=recipe) == 2
    err = capsys.readouterr().err
    assert f"{earlier}: cannot go on as if it had not been stopped" in err
    assert re.search(r"optimizer\.lr: \S+ -> 7\.5; undo that, or leave out --resume for", err)
    assert not training.done
    assert run("--resume", "--optimizer.lr", "7.5") == 0
    assert training.done == [("tree_min", 0)]


def test_a_changed_recipe_has_another_run_beside_one_that_cannot_go_on(
    run: Run, earlier: Path, training: Training, tmp_path: Path
) -> None:
    recipe = tmp_path / "quickstart.yaml"
    recipe.write_text(f"base: {QUICKSTART}\noptimizer: {{lr: 7.5}}\n")
    unfinish(earlier, "checkpoints")
    assert run("--resume", recipe=recipe) == 0
    assert training.done == [("tree_min", 0)]
    assert (earlier / "metrics.jsonl").exists()


def test_a_recipe_with_more_epochs_goes_on_and_one_with_fewer_is_refused(
    run: Run, earlier: Path, resumed: Mock, tmp_path: Path, capsys: Captured
) -> None:
    text = (earlier / "recipe.yaml").read_text()
    recipe, out = tmp_path / "again/quickstart.yaml", tmp_path / "elsewhere"
    recipe.parent.mkdir()
    (out / "quickstart").mkdir(parents=True)
    place = earlier.rename(out / "quickstart/base-seed0")
    for epochs, code in ((3, 0), (1, 2)):
        recipe.write_text(text.replace("epochs: 2\n", f"epochs: {epochs}\n"))
        assert main(["run", str(recipe), "--resume", "--out", str(out)]) == code
    assert resumed.call_args.args[0].path == place
    assert resumed.call_args.args[1].training.epochs == 3
    assert "training.epochs: 2 -> 1" in capsys.readouterr().err


@pytest.fixture
def longer(earlier: Path) -> Path:
    """A run of 2 epochs that was resumed with 3."""
    recipe, provenance = earlier / "recipe.yaml", read_json(earlier / "provenance.json")
    text = recipe.read_text().replace("epochs: 2\n", "epochs: 3\n")
    recipe.write_text(text)
    provenance |= {"recipe": text, "resumed": [{"changed": {"training.epochs": ["2", "3"]}}]}
    (earlier / "provenance.json").write_text(json.dumps(provenance))
    return earlier


def test_a_finished_run_that_was_given_more_epochs_is_skipped(
    run: Run, longer: Path, training: Training, capsys: Captured
) -> None:
    """By the command as it was before, which says that the scores are those of a longer run."""
    assert run("--resume") == 0
    out, err = capsys.readouterr()
    said = "is finished with 3 epochs, since it was resumed with more than the 2 of this command; "
    assert f"skipped: {longer} {said}leave out --resume for another run of 2\n" in err
    assert "miou" in out
    assert run("--resume", "--dry-run") == 0
    assert "run again" not in capsys.readouterr().out
    assert not training.done


def test_an_unfinished_run_that_was_given_more_epochs_is_refused(
    run: Run, longer: Path, training: Training, capsys: Captured
) -> None:
    """Whoever wants the scores of 2 epochs has them no longer."""
    unfinish(longer)
    assert run("--resume") == 2
    changed = "training.epochs: 3 -> 2; it was changed when the run was resumed; "
    go_on = f"go on with `hieraseg resume {longer}`, or leave out --resume for another run"
    assert f"{changed}{go_on} beside it\n" in capsys.readouterr().err
    assert not training.done


def test_a_damaged_result_is_not_trained_again_silently(
    run: Run, earlier: Path, training: Training, capsys: Captured
) -> None:
    """Its checkpoints may have been removed to save space."""
    shutil.rmtree(earlier / "checkpoints")
    (earlier / "result.json").write_text("{")
    assert run("--resume") == 2
    assert f"{earlier}/result.json: is damaged (" in capsys.readouterr().err
    assert not training.done


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("provenance.json", "{", "is damaged ("),
        ("provenance.json", None, "no such file; restore it from a copy"),
        ("recipe.yaml", "training: [", "is damaged ("),
    ],
)
def test_a_run_of_which_a_record_is_damaged_is_refused(
    run: Run,
    earlier: Path,
    training: Training,
    capsys: Captured,
    file: str,
    content: str | None,
    problem: str,
) -> None:
    """It may be the one to go on with; it is replaced only if it has left nothing."""
    (earlier / file).unlink()
    if content is not None:
        (earlier / file).write_text(content)
    assert run("--resume") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{earlier / file}" in line
    assert problem in line
    assert line.endswith("run the recipe again without --resume")
    assert not training.done
    unfinish(earlier, *LATER)
    assert run("--resume") == 0
    assert training.done == [("tree_min", 0)]


def test_again_contradicts_it(run: Run, capsys: Captured) -> None:
    assert run("--resume", "--again") == 2
    assert "not allowed with argument" in capsys.readouterr().err
