"""`hieraseg compare`: formats, protocols that differ, and runs that cannot be compared."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hieraseg.cli import main
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]
Result = dict[str, Any]


def add_run(trained_run: Path, name: str, seed: int = 0, started: str = "2026-01-01") -> Path:
    """A copy of a run, with another seed, as `name` is relative to the working directory."""
    run = Path(name)
    run.mkdir(parents=True)
    for file in ("recipe.yaml", "result.json", "metrics.jsonl", "provenance.json"):
        shutil.copy(trained_run / file, run)
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
    change_result(run, lambda result: result["splits"]["val"]["levels"][2].update(miou=score))


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
    assert (str(score) if output_format == "json" else f"{score:.3f}") in output


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


def test_names_of_rows(
    trained_run: Path, here: None, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run folders where recipes and runs have the same name; and inside of a run folder."""
    add_run(trained_run, "runs/q/base-seed0")
    other = add_run(trained_run, "other/q/base-seed0")
    change_result(other, lambda result: result["splits"]["val"]["tree"].update(void=[9]))
    table, _ = compared(capsys, "runs", "other")
    names = [row["recipe"] for row in table["rows"]]
    assert names == ["runs/q/base-seed0", "other/q/base-seed0"]
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
    assert len(warnings) == 2
    for run, warning in zip((evaluated, running), warnings, strict=True):
        assert f"left out: {run}: did not finish training (epoch 1 of 2)" in warning
    assert main(["compare", str(evaluated), str(running)]) == 2
    assert "2 runs cannot be compared:\n" in capsys.readouterr().err


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
    assert f"{trained_run}: no scores on split 'test'; run `hieraseg evaluate" in error
