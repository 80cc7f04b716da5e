"""`hieraseg compare`: formats, protocols that differ, and runs that cannot be compared."""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg.cli import compare_report, layout, main
from hieraseg.comparison.comparison import Comparison
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]
Result = dict[str, Any]


def add_run(trained_run: Path, name: str, seed: int = 0, started: str = "2026-01-01") -> Path:
    """A copy of a run, with another seed, as `name` is relative to the working directory."""
    run = Path(name)
    run.mkdir(parents=True)
    for file in ("recipe.yaml", "result.json", "metrics.jsonl", "provenance.json"):
        shutil.copy(trained_run / file, run)
    shutil.copytree(trained_run / "evaluation", run / "evaluation")
    above, training = (run / "recipe.yaml").read_text().split("training:")
    training = training.replace("  seed: 0\n", f"  seed: {seed}\n")
    (run / "recipe.yaml").write_text(f"{above}training:{training}")
    provenance = {**read_json(run / "provenance.json"), "started": started}
    (run / "provenance.json").write_text(json.dumps(provenance))
    return run


def change_result(run: Path, change: Callable[[Result], Any]) -> None:
    """Change `result.json` of a run, which has no checksum from then on."""
    result = read_json(run / "result.json")
    result.pop("checksum", None)
    change(result)
    (run / "result.json").write_text(json.dumps(result))


def set_leaf_score(run: Path, score: float) -> None:
    """Change a score of a run, which has no counts from then on."""
    change_result(run, lambda result: result["splits"]["val"]["levels"][2].update(miou=score))
    shutil.rmtree(run / "evaluation")


def compared(capsys: Captured, *words: str) -> tuple[Result, list[str]]:
    """The JSON of `hieraseg compare`, and the lines on stderr."""
    capsys.readouterr()
    assert main(["compare", *words, "--json"]) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err.splitlines()


@pytest.mark.parametrize("output_format", ["md", "csv", "latex", "json"])
def test_formats(trained_run: Path, output_format: str, capsys: Captured) -> None:
    """Each format has the name of the run and its score on the leaves."""
    score = read_json(trained_run / "result.json")["splits"]["val"]["levels"][2]["miou"]
    assert main(["compare", str(trained_run), f"--{output_format}"]) == 0
    output = capsys.readouterr().out
    assert "quickstart" in output
    shown = {"json": str(score), "csv": f"{score:.6g}"}.get(output_format, f"{score:.3f}")
    assert shown in output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)


def test_seeds_share_a_row(trained_run: Path, here: None, capsys: Captured) -> None:
    for seed in (0, 1):
        set_leaf_score(add_run(trained_run, f"runs/q/base-seed{seed}", seed), 0.25 * (seed + 1))
    table, warnings = compared(capsys, "runs")
    (row,) = table["rows"]
    assert (row["recipe"], row["seeds"], row["mIoU L3"]) == ("q/base", [0, 1], [0.25, 0.5])
    assert not warnings


def change_provenance(run: Path, **changes: Any) -> None:
    provenance = read_json(run / "provenance.json")
    (run / "provenance.json").write_text(json.dumps({**provenance, **changes}))


@pytest.mark.parametrize(
    ("key", "value", "column"),
    [
        ("code", {"version": "0", "sources": "other"}, "code"),
        ("data", {"train": "other", "val": "other"}, "data digest"),
    ],
)
def test_runs_of_other_code_or_data_are_not_averaged(
    trained_run: Path, here: None, key: str, value: Any, column: str, capsys: Captured
) -> None:
    """But those of another revision with the same sources are."""
    code = {**read_json(trained_run / "provenance.json")["code"], "revision": "docs", "diff": "d"}
    for seed in range(3):
        add_run(trained_run, f"runs/q/base-seed{seed}", seed)
    change_provenance(Path("runs/q/base-seed1"), code=code)
    change_provenance(Path("runs/q/base-seed2"), **{key: value})
    table, _ = compared(capsys, "runs")
    first, second = table["rows"]
    assert (first["seeds"], second["seeds"]) == ([0, 1], [2])
    assert first["settings"].keys() == second["settings"].keys() == {column}
    assert first["settings"] != second["settings"]
    assert any(f"another {column}" in note for note in table["notes"])


def test_a_rerun_of_a_seed_is_no_measurement(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    """The newest counts, whatever the order of the names."""
    names = {"base": "2026-01-01", "base-run2": "2026-01-03", "base-run3": "2026-01-02"}
    for score, (name, started) in enumerate(names.items()):
        set_leaf_score(add_run(trained_run, f"runs/q/{name}-seed0", 0, started), score / 4)
    set_leaf_score(add_run(trained_run, "runs/q/base-seed1", 1), 0.75)
    table, (warning,) = compared(capsys, "runs")
    (row,) = table["rows"]
    assert (row["recipe"], row["seeds"], row["mIoU L3"]) == ("q/base", [0, 1], [0.25, 0.75])
    assert "seed 0 was run 3 times, of which runs/q/base-run2-seed0 is the newest" in warning


def test_a_run_counts_once(trained_run: Path, here: None, capsys: Captured) -> None:
    """Whatever leads to it: its path, that of a folder above, a link, or a copy."""
    run = add_run(trained_run, "disk/q/base-seed0")
    Path("runs").mkdir()
    Path("runs/q").symlink_to(Path("disk/q").absolute())
    (run / "loop").symlink_to(Path("disk").absolute())
    words = ("runs", str(run), f"./disk/../{run}", str(run.absolute()))
    table, warnings = compared(capsys, *words)
    assert [(row["recipe"], row["seeds"]) for row in table["rows"]] == [("q/base", [0])]
    assert not warnings
    add_run(trained_run, "copy/q/base-seed0")
    table, (warning,) = compared(capsys, "runs", "copy")
    assert [row["seeds"] for row in table["rows"]] == [[0]]
    assert "seed 0 has 2 copies of one run; runs/q/base-seed0 is compared" in warning
    add_run(trained_run, "other/q/b-seed0")
    table, _ = compared(capsys, "runs", "other")
    assert table["rows"][0]["recipe"] == "q/base"  # the name of a run that is compared


def test_names_of_rows(
    trained_run: Path, here: None, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of the path where recipes and runs have the same name; and inside of a run folder."""
    add_run(trained_run, "runs/q/base-seed0")
    other = add_run(trained_run, "other/q/base-seed0")
    change_result(other, lambda result: result["splits"]["val"]["tree"].update(void=[9]))
    table, _ = compared(capsys, "runs", "other")
    names = [row["recipe"] for row in table["rows"]]
    assert names == ["runs/q/base", "other/q/base"]
    other = add_run(trained_run, "other/q/base-seed1", 1)
    table, _ = compared(capsys, "other")
    names = [row["recipe"] for row in table["rows"]]
    assert names == ["other/q/base-seed0", "other/q/base-seed1"]  # scored by other protocols
    monkeypatch.chdir(other)
    table, _ = compared(capsys, ".")
    assert [row["recipe"] for row in table["rows"]] == ["q/base"]


def test_a_run_that_did_not_finish_is_left_out(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    """Whether it was evaluated or not: it has no cost."""
    evaluated, running, _ = (add_run(trained_run, f"runs/q/base-seed{s}", s) for s in range(3))
    change_result(evaluated, lambda result: result.update(cost={}))
    (running / "result.json").unlink()
    for run in (evaluated, running):
        first = (run / "metrics.jsonl").read_text().splitlines()[0]
        (run / "metrics.jsonl").write_text(f'{first}\n{{"epoch": 2, "lo')  # cut off
    table, warnings = compared(capsys, "runs")
    assert table["rows"][0]["seeds"] == [2]
    assert table["notes"][0] == (
        "runs left out, since they did not finish, are damaged or have no such scores: 2 "
        "(base-seed0, base-seed1)"
    )
    assert len(warnings) == 2
    for run, warning in zip((evaluated, running), warnings, strict=True):
        assert f"left out: {run}: did not finish training (epoch 1 of 2)" in warning
    assert main(["compare", str(evaluated), str(running)]) == 2
    assert "2 runs cannot be compared:\n" in capsys.readouterr().err


def test_a_run_that_diverged_says_why_it_is_left_out(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    lost, _ = (add_run(trained_run, f"runs/q/base-seed{seed}", seed) for seed in range(2))
    (lost / "result.json").unlink()
    failure = {"state": "diverged", "message": "the loss is not finite; lower optimizer.lr"}
    (lost / "failure.json").write_text(json.dumps(failure))
    _, (warning,) = compared(capsys, "runs")
    assert warning.endswith("; it diverged: the loss is not finite; lower optimizer.lr")


def test_many_runs_that_are_left_out_are_few_warnings(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    for seed in range(8):
        run = add_run(trained_run, f"runs/q/base-seed{seed}", seed)
        if seed:
            (run / "result.json").unlink()
    table, warnings = compared(capsys, "runs")
    assert len(warnings) == 6
    assert "left out: 2 more runs" in warnings[-1]
    assert "have no such scores: 7 (base-seed1, " in table["notes"][0]


def test_a_recipe_beside_the_runs_is_no_run(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    """Even if it has the name that recipes have in run folders."""
    add_run(trained_run, "runs/q/base-seed0")
    shutil.copy("runs/q/base-seed0/recipe.yaml", "recipe.yaml")
    table, warnings = compared(capsys, ".")
    assert table["rows"][0]["seeds"] == [0]
    assert not warnings


def test_evaluation_does_not_finish_a_run(run_copy: Path, capsys: Captured) -> None:
    (run_copy / "result.json").unlink()
    assert main(["evaluate", str(run_copy), "--checkpoint", "last"]) == 0
    assert main(["evaluate", str(run_copy)]) == 0
    capsys.readouterr()
    assert main(["compare", str(run_copy)]) == 2
    assert f"{run_copy}: did not finish training (epoch 2 of 2)" in capsys.readouterr().err


_ALIASES = "a: &a [x]\nb: &b [*a, *a]\n" + "".join(f"c{i}: [*b, *b]\n" for i in range(9))
DAMAGED: list[tuple[str, bytes | None]] = [
    ("recipe.yaml", None),
    ("recipe.yaml", b""),
    ("recipe.yaml", b"a: ["),
    ("recipe.yaml", b"\xff"),
    ("recipe.yaml", b"[1, 2]"),
    ("recipe.yaml", b"training: 3"),
    ("recipe.yaml", b"training: {epochs: 2}"),
    ("recipe.yaml", b"training: {epochs: 2, seed: one}"),
    ("recipe.yaml", b"training: {epochs: 2, seed: 0}\na: &a 1\nb: *a"),
    ("recipe.yaml", _ALIASES.encode()),
    ("recipe.yaml", b"a: " + b"[" * 10_000),
    ("recipe.yaml", b"# " + b"x" * 2**23),
    ("recipe.yaml", b"!!python/object/apply:os.system [touch owned]"),
    ("result.json", b""),
    ("result.json", b"[]"),
    ("result.json", b"null"),
    ("result.json", b'{"splits": 3}'),
    ("result.json", b'{"splits": {"val": {}}, "cost": {}}'),
    ("result.json", b'{"splits": {"val": {}}, "cost": {"seconds": 1}}'),
    ("result.json", b'{"splits": {"val": []}, "cost": {"seconds": 1}}'),
    ("result.json", b'{"splits": {}, "cost": {"seconds": "1"}}'),
    ("result.json", b"\xff\xfe"),
    ("result.json", b"[" * 100_000),
    ("provenance.json", b"[]"),
    ("provenance.json", b'{"plugin_files": [3]}'),
    ("provenance.json", b'{"plugin_files": 3}'),
    ("provenance.json", b'{"started": 3}'),
    ("provenance.json", b"\x00"),
    ("provenance.json", b'{"code": 3}'),
    ("provenance.json", b'{"plugins": {"loss": [{"name": 3}]}}'),
]


@pytest.mark.parametrize(("file", "content"), DAMAGED)
def test_a_damaged_run_does_not_break_the_others(
    trained_run: Path, here: None, file: str, content: bytes | None, capsys: Captured
) -> None:
    good, bad = (add_run(trained_run, f"runs/q/base-seed{seed}", seed) for seed in (0, 1))
    (bad / file).unlink()
    if content is not None:
        (bad / file).write_bytes(content)
    table, warnings = compared(capsys, "runs")
    assert [row["seeds"] for row in table["rows"]] == [[0]]
    (warning,) = warnings
    assert str(bad) in warning
    assert "; " in warning, "it says what to do"
    assert main(["compare", str(bad)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert str(bad) in error
    assert main(["compare", str(good)]) == 0
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("levels",), []),
        (("levels",), {}),
        (("levels", 0, "iou"), None),
        (("levels", 0, "miou"), "0.5"),
        (("levels", 0, "miou"), 1e999),
        (("levels", 0, "mean_dice"), [0.5]),
        (("levels", 0, "mean_accuracy"), {"head": 0.5}),
        (("levels", 0, "level"), None),
        (("levels", 0), 3),
        (("coherence",), True),
        (("mistake_distance",), {}),
        (("resolution",), None),
        (("size",), [None]),
        (("resize",), 3),
        (("tta",), ["flip"]),
        (("data",), 3),
        (("tree",), "oak"),
        (("tree", "void"), [None]),
        (("checkpoint",), {}),
    ],
)
def test_scores_of_wrong_types_are_one_sentence(
    trained_run: Path, here: None, path: tuple[str | int, ...], value: Any, capsys: Captured
) -> None:
    run = add_run(trained_run, "runs/q/base-seed0")

    def change(result: Result) -> None:
        place: Any = result["splits"]["val"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    change_result(run, change)
    assert main(["compare", "runs"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert f"{run}/result.json: is damaged" in error


def test_other_numbers_of_levels_are_other_rows(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    """A tree that was changed between two seeds: their scores are no replicates."""
    add_run(trained_run, "runs/q/base-seed0")
    other = add_run(trained_run, "runs/q/base-seed1", 1)
    change_result(other, lambda result: result["splits"]["val"]["levels"].pop())
    table, (warning,) = compared(capsys, "runs")
    assert [row["seeds"] for row in table["rows"]] == [[0], [1]]
    assert not table["comparable"]
    assert "with different classes; their scores are not comparable" in warning


def test_a_changed_result_is_left_out(trained_run: Path, here: None, capsys: Captured) -> None:
    good, changed = (add_run(trained_run, f"runs/q/base-seed{seed}", seed) for seed in (0, 1))
    result = (good / "result.json").read_text()
    (changed / "result.json").write_text(result.replace('"seconds": ', '"seconds": 1'))
    table, (warning,) = compared(capsys, "runs")
    assert table["rows"][0]["seeds"] == [0]
    assert f"{changed}/result.json: was changed after it was written" in warning


def change_level(**scores: float) -> Callable[[Result], Any]:
    return lambda result: result["splits"]["val"]["levels"][2].update(scores)


@pytest.mark.parametrize(
    ("change", "which"),
    [
        (change_level(miou=0.9), " of level 3"),
        (change_level(miou_with_background=0.9), " of level 3"),
        (
            lambda result: result["splits"]["val"]["levels"][0]["iou"].update(body=0.9),
            " of level 1",
        ),
        (lambda result: result["splits"]["val"].update(coherence=0.9), ""),
        (lambda result: result["splits"]["val"].update(mistake_distance=None), ""),
    ],
)
def test_scores_that_are_not_those_of_the_counts_are_left_out(
    trained_run: Path, here: None, change: Callable[[Result], Any], which: str, capsys: Captured
) -> None:
    """Without a baseline, too, and though the checksum of the result was removed."""
    _, changed = (add_run(trained_run, f"runs/q/base-seed{seed}", seed) for seed in (0, 1))
    change_result(changed, change)
    table, (warning,) = compared(capsys, "runs")
    assert table["rows"][0]["seeds"] == [0]
    file = changed / "evaluation/val.npz"
    assert f"{file}: its counts{which} do not give the scores in result.json, so one" in warning
    assert "; evaluate the run again" in warning
    assert table["notes"][0].endswith(": 1 (base-seed1)")


def test_runs_without_counts_are_compared_and_named(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    for seed in (0, 1, 2):
        run = add_run(trained_run, f"runs/q/base-seed{seed}", seed)
    (run / "evaluation/val.npz").unlink()
    Path("runs/q/base-seed1/evaluation/val.npz").write_bytes(b"PK")
    table, warnings = compared(capsys, "runs")
    assert table["rows"][0]["seeds"] == [0, 1, 2]
    assert not warnings
    assert table["notes"][0] == (
        "scores that could not be checked, since the counts of images are missing or damaged: "
        "2 (base-seed1, base-seed2)"
    )


def test_which_run_is_the_newest_is_not_guessed(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    """Runs of one seed that do not say when they started are copies only if they have one score."""
    for name, score in (("base", 0.25), ("base-run2", 0.25), ("base-run3", 0.5)):
        set_leaf_score(add_run(trained_run, f"runs/q/{name}-seed0", 0, started=""), score)
    table, (warning,) = compared(capsys, "runs/q/base-seed0", "runs/q/base-run2-seed0")
    assert table["rows"][0]["mIoU L3"] == [0.25]
    assert "seed 0 has 2 copies of one run" in warning
    assert main(["compare", "runs/q/base-seed0", "runs/q/base-run3-seed0"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "runs/q/base-seed0, runs/q/base-run3-seed0: are runs of the same recipe and se" in error
    assert "not all of them say when they started; name only one of them" in error


def test_compare_runs_no_code_of_a_run(trained_run: Path, here: None, capsys: Captured) -> None:
    run = add_run(trained_run, "runs/q/base-seed0")
    (run / "plugins").mkdir()
    (run / "plugins/own.py").write_text("open('owned', 'w')\n")
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(f"plugins: [plugins/own.py]\n{recipe}")
    compared(capsys, "runs")
    compared(capsys, str(run))
    assert main(["list"]) == 0
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"void": [9]}, "void (none | 9)"),
        ({"background": None}, "background (background | none)"),
        ({"labels": "other"}, "labels"),
        ({"parents": "other"}, "tree"),
    ],
)
def test_trees_that_differ_are_not_comparable(
    trained_run: Path, here: None, change: Result, part: str, capsys: Captured
) -> None:
    """Even if the names of the classes are the same."""
    add_run(trained_run, "runs/q/base-seed0")
    other = add_run(trained_run, "runs/other/base-seed0")
    change_result(other, lambda result: result["splits"]["val"]["tree"].update(change))
    shutil.rmtree(other / "evaluation")  # counts with another background give other scores
    table, (warning,) = compared(capsys, "runs/q", "runs/other")
    assert not table["comparable"]
    assert f"with different {part}; their scores are not comparable" in warning


def test_older_runs_are_compared_by_what_they_recorded(
    trained_run: Path, here: None, capsys: Captured
) -> None:
    add_run(trained_run, "runs/q/base-seed0")
    older = add_run(trained_run, "runs/older/base-seed0")

    def forget(result: Result) -> None:
        scores = result["splits"]["val"]
        del scores["tree"], scores["tta"], scores["epoch"]

    change_result(older, forget)
    (older / "provenance.json").unlink()
    table, warnings = compared(capsys, "runs/q", "runs/older")
    assert table["comparable"]
    assert not warnings
    change_result(older, lambda result: result["splits"]["val"].update(views="scales 1, flip"))
    _, (warning,) = compared(capsys, "runs/q", "runs/older")
    assert "with different tta (scales 1 | scales 1, flip); their" in warning


def test_different_protocols(trained_run: Path, here: None, capsys: Captured) -> None:
    """Scores of different protocols are in one table, with a warning of the difference."""
    add_run(trained_run, "runs/q/base-seed0")
    other = add_run(trained_run, "runs/other/base-seed0")
    changes = {"resolution": "input", "data": "other"}
    change_result(other, lambda result: result["splits"]["val"].update(changes))
    table, (warning,) = compared(capsys, "runs/q", "runs/other")
    assert not table["comparable"]
    assert "with different data, resolution (native | input); their" in warning


@pytest.mark.parametrize(("resolution", "comparable"), [("native", True), ("input", False)])
def test_the_input_size_is_protocol_where_targets_have_it(
    trained_run: Path, here: None, resolution: str, comparable: bool, capsys: Captured
) -> None:
    own = add_run(trained_run, "runs/q/base-seed0")
    other = add_run(trained_run, "runs/other/base-seed0")
    assert read_json(own / "result.json")["splits"]["val"]["size"] == [64, 64]
    for run, size in ((own, [64, 64]), (other, [32, 48])):
        changes = {"resolution": resolution, "size": size}
        change_result(run, lambda result, new=changes: result["splits"]["val"].update(new))
    table, warnings = compared(capsys, "runs/q", "runs/other")
    assert table["comparable"] == comparable
    assert comparable or "with different size (64x64 | 32x48); their" in warnings[0]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"resolution": "native", "resize": "shorter"}, None),
        ({"resolution": "input", "resize": "shorter"}, "resize (stretch | shorter)"),
        ({"resolution": "input", "resize": "none", "size": [1, 1]}, "resize (stretch | none)"),
        ({"tta": "scales 1, window 64x64 overlap 0.5"}, "tta (scales 1 | scales 1, window 64x64"),
    ],
)
def test_what_the_model_sees_is_protocol_where_targets_have_it(
    trained_run: Path, here: None, changes: Result, difference: str | None, capsys: Captured
) -> None:
    """And windows are, in any case. Results of older runs do not say that images were stretched."""
    own = add_run(trained_run, "runs/q/base-seed0")
    other = add_run(trained_run, "runs/other/base-seed0")
    resolution = {"resolution": changes.get("resolution", "native")}
    change_result(own, lambda result: result["splits"]["val"].update(resolution))
    change_result(own, lambda result: result["splits"]["val"].pop("resize"))
    change_result(other, lambda result: result["splits"]["val"].update(changes))
    table, warnings = compared(capsys, "runs/q", "runs/other")
    assert table["comparable"] == (difference is None)
    if difference:
        assert f"with different {difference}" in warnings[0]


def test_another_protocol_is_compared_if_asked(
    run_copy: Path, trained_run: Path, capsys: Captured
) -> None:
    before, _ = compared(capsys, str(run_copy))
    assert main(["evaluate", str(run_copy), "--scales", "0.25"]) == 0
    after, _ = compared(capsys, str(run_copy))
    assert after == before
    other, _ = compared(capsys, str(run_copy), "--split", "val@scales=0.25")
    assert other["rows"][0]["mIoU L1"] != before["rows"][0]["mIoU L1"]
    assert main(["compare", str(trained_run), "--split", "val@flip"]) == 2
    command = f"run `hieraseg evaluate {trained_run} --split val` with the options for flip first"
    assert command in capsys.readouterr().err


def test_missing_runs_and_splits(trained_run: Path, tmp_path: Path, capsys: Captured) -> None:
    """The message says which command makes what is missing."""
    assert main(["compare", str(tmp_path)]) == 2
    assert "no finished run" in capsys.readouterr().err
    assert main(["compare", str(trained_run), "--split", "test"]) == 2
    error = capsys.readouterr().err
    assert f"{trained_run}: no scores on split 'test' (known: val); run `hieraseg evaluate" in error


def add_perfect_run(trained_run: Path, name: str, seed: int) -> None:
    """A copy of a run that predicts all of its images right."""
    run = add_run(trained_run, name, seed)
    with np.load(run / "evaluation/val.npz", allow_pickle=False) as file:
        counts = dict(file)

    def change(result: Result) -> None:
        for number, level in enumerate(result["splits"]["val"]["levels"], 1):
            truth = counts[f"truth_{number}"]
            counts[f"intersection_{number}"] = counts[f"predicted_{number}"] = truth
            seen = dict(zip(level["iou"], truth.any(0).tolist(), strict=True))
            level["iou"] = {name: 1.0 if seen[name] else None for name in seen}
            level["miou"] = level["miou_with_background"] = 1.0
        counts["mistakes"][:] = counts["distance"][:] = 0
        result["splits"]["val"]["mistake_distance"] = None

    change_result(run, change)
    np.savez_compressed(run / "evaluation/val.npz", **counts)


@pytest.fixture
def study(trained_run: Path, here: None) -> None:
    """Rows `q/base`, `q/copy` with the same predictions, and `q/best` with perfect ones."""
    for seed in range(3):
        add_run(trained_run, f"runs/q/base-seed{seed}", seed)
        add_run(trained_run, f"runs/q/copy-seed{seed}", seed)
        add_perfect_run(trained_run, f"runs/q/best-seed{seed}", seed)
    for name, gamma in (("copy", 1.5), ("best", 3.0)):
        for recipe in Path("runs/q").glob(f"{name}-*/recipe.yaml"):
            recipe.write_text(recipe.read_text().replace("gamma: 0.0", f"gamma: {gamma}"))


def test_differences_to_a_baseline(study: None, capsys: Captured) -> None:
    """Equal rows do not differ, four images are too few for a verdict; classes if asked for."""
    table, _ = compared(capsys, "runs", "--baseline", "base")
    rows = {row["recipe"]: row for row in table["rows"]}
    assert table["baseline"] == "q/base"
    assert "images are too few for 6 differences" in table["notes"][0]
    assert rows["q/base"]["baseline"]
    for level in rows["q/copy"]["levels"]:
        assert (level["difference"], level["p"]) == (0, 1)
        assert level["interval"][0] <= 0 <= level["interval"][1]
        assert level["verdict"] is None
    for number, level in enumerate(rows["q/best"]["levels"], 1):
        mean = statistics.mean(rows["q/base"][f"mIoU L{number}"])
        assert level["difference"] == pytest.approx(1 - mean)
        assert level["probability_better"] > 0.9
        assert "classes" not in level
    table, _ = compared(capsys, "runs", "--baseline", "base", "--per-class")
    (best,) = (row for row in table["rows"] if row["recipe"] == "q/best")
    assert "body" in best["levels"][0]["classes"]


def test_tables_of_a_terminal(
    study: None, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 80 columns: rows with settings that differ, differences, and what to know of them."""
    for module in (layout, compare_report):
        monkeypatch.setattr(module, "terminal_width", lambda: 80)
    assert main(["compare", "runs", "--baseline", "q/base", "--sort", "miou l3"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    rows, differences, notes = text.split("\n\n")
    assert rows.startswith("q: split val, mean ± standard deviation")
    titles = [line.split()[0] for line in rows.splitlines() if "†" in line]
    assert titles == ["best", "base", "copy"]
    assert "loss.gamma" in rows
    assert differences.startswith("difference of mIoU to base")
    assert differences.count("1.000        -      -") == 3  # neither a verdict nor any noise
    assert notes.startswith("no verdict on levels")
    assert "\n† best epoch chosen on this split" in notes


def test_rows_of_another_protocol_are_not_compared_to_the_baseline(
    study: None, capsys: Captured
) -> None:
    for seed in range(3):
        run = Path(f"runs/q/best-seed{seed}")
        change_result(run, lambda result: result["splits"]["val"].update(data="other"))
    table, (warning,) = compared(capsys, "runs", "--baseline", "q/base")
    rows = {row["recipe"]: row for row in table["rows"]}
    assert rows["q/best"]["levels"] == []
    assert rows["q/best"]["marks"] == ["†", "‡"]
    assert len(rows["q/copy"]["levels"]) == 3
    assert "their scores are not comparable" in warning


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--baseline", "bose"], "--baseline: no row 'bose'; did you mean 'base'?"),
        (["--baseline", "b"], "--baseline: 'b' could be 'q/base', 'q/best'; write more"),
        (["--sort", "miuo l3"], "--sort: no column 'miuo l3'; did you mean 'mIoU L3'?"),
        (["--columns", "gamma"], "--columns: no column 'gamma'; did you mean 'loss.gamma'?"),
        (["--drop", "hours"], "--drop: no column 'hours'; "),
        (["--per-class"], "--per-class: compares classes to a baseline; add --baseline ROW"),
        (["--images", "3"], "--images: is for the page alone; add --html FILE"),
    ],
)
def test_mistakes_in_options_are_one_sentence(
    study: None, words: list[str], problem: str, capsys: Captured
) -> None:
    assert main(["compare", "runs", *words]) == 2
    out, err = capsys.readouterr()
    assert not out
    (error,) = err.splitlines()
    assert problem in error


def test_chosen_columns(study: None, capsys: Captured) -> None:
    words = ["--columns", "miou l3, loss.gamma", "--drop", "n", "--md"]
    assert main(["compare", "runs", *words]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "| recipe | mIoU L3 | loss.gamma |"


def test_files_beside_the_table(
    study: None, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Existing ones are replaced, which is said; and the page gets the classes in any case."""
    seen: list[Comparison] = []

    def write_page(file: Path, comparison: Comparison, images: int, run_plugins: bool) -> None:
        seen.append(comparison)
        file.write_text(f"{images} images")

    monkeypatch.setattr("hieraseg.page.write.write_page", write_page)
    words = ["--baseline", "q/base", "--html", "page.html", "--per-image", "images.csv"]
    assert main(["compare", "runs", *words, "--images", "3"]) == 0
    out, err = capsys.readouterr()
    assert "difference of mIoU" in out
    assert "difference of IoU of classes" not in out
    assert "wrote page.html" in err
    assert Path("page.html").read_text() == "3 images"
    assert seen[0].class_differences["q/best"]
    assert Path("images.csv").read_text().count("\n") > 5
    assert main(["compare", "runs", "--html", "page.html"]) == 0
    assert "replaced page.html" in capsys.readouterr().err
    assert Path("page.html").read_text() == "8 images"
    assert main(["compare", "runs", "--per-image", "missing/images.csv"]) == 2
    assert "--per-image: missing: no such folder; create it" in capsys.readouterr().err
    assert main(["compare", "runs", "--plot", "figure.jpg"]) == 2
    printed = capsys.readouterr()
    assert "--plot: figure.jpg: figures are .png, .svg or .pdf" in printed.err
    assert printed.out == ""


def test_compare_imports_neither_torch_nor_plotly(trained_run: Path) -> None:
    program = (
        f"import sys; from hieraseg.cli import main; code = main(['compare', '{trained_run}']); "
        "sys.exit(code or bool({'torch', 'plotly', 'jinja2', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
