"""`hieraseg evaluate`: scores of a trained run, drawn images, and runs that cannot be loaded."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from hieraseg.cli import main
from hieraseg.files.strict_yaml import read_plain
from hieraseg.model.weights import read_weights
from hieraseg.recipe.resolved import as_yaml
from hieraseg.runs import loading
from hieraseg.runs.checkpoint import read_metadata, save_checkpoint
from tests.support.earlier import unfinish
from tests.support.pascal_part import write_pascal_folder
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def oracle_copy(oracle_run: Path, tmp_path: Path) -> Path:
    """Copy of a run with a plugin file."""
    return Path(shutil.copytree(oracle_run, tmp_path / "copy"))


def test_scores_equal_those_of_training(run_copy: Path) -> None:
    """Weights that are loaded from a checkpoint score as they did in training."""
    trained = read_json(run_copy / "result.json")["splits"]["val"]
    assert main(["evaluate", str(run_copy), "--split", "val"]) == 0
    scored = read_json(run_copy / "result.json")["splits"]["val"]
    assert scored["levels"] == trained["levels"]
    assert scored["data"] == trained["data"]


def test_data_that_are_elsewhere_now(run_copy: Path, tmp_path: Path, capsys: Captured) -> None:
    """As those of a run that was trained on another machine."""
    recipe = run_copy / "recipe.yaml"
    content = read_plain(recipe) | {"data": {"name": "pascal_part", "root": "/not/here"}}
    recipe.write_text(as_yaml(content))
    assert main(["evaluate", str(run_copy)]) == 3
    assert "/not/here: no such data folder; set data.root to" in capsys.readouterr().err
    root = write_pascal_folder(tmp_path / "data: [moved]")
    assert main(["evaluate", str(run_copy), "--data.root", str(root), "--split", "holdout"]) == 0
    assert len(np.load(run_copy / "evaluation/holdout.npz")["ids"]) == 3
    assert main(["evaluate", str(run_copy), "--data.rot", str(root)]) == 2
    assert "did you mean '--data.root'?" in capsys.readouterr().err


def test_a_checkpoint_that_is_replaced_meanwhile_is_scored_as_what_it_is(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a run which trains."""
    best, last = (run_copy / "checkpoints" / name for name in ("best", "last"))
    assert read_metadata(best)["step"] != read_metadata(last)["step"]
    load, calls = loading.load_checkpoint, iter(range(9))

    def replaced(folder: Path, model: nn.Module) -> None:
        if next(calls) == 0:
            shutil.rmtree(best)
            shutil.copytree(last, best)
        load(folder, model)

    monkeypatch.setattr(loading, "load_checkpoint", replaced)
    loaded = loading.load_run(run_copy, device="cpu")
    assert loaded.metadata["step"] == read_metadata(last)["step"]


def test_weights_of_a_run_that_is_not_finished_are_said_to_be(
    run_copy: Path, capsys: Captured
) -> None:
    unfinish(run_copy)
    assert main(["evaluate", str(run_copy), "--split", "holdout", "--checkpoint", "last"]) == 0
    said = f"warning: {run_copy}: is not finished; last has the weights of epoch 2 of 2\n"
    assert said in capsys.readouterr().err


def test_another_split_is_added_and_drawn(run_copy: Path, tmp_path: Path) -> None:
    """The hold-out is scored beside the validation split, and some of its images are drawn."""
    figures = tmp_path / "figures"
    options = ["--split", "holdout", "--visualize", "--num_viz", "2", "--viz_dir", str(figures)]
    assert main(["evaluate", str(run_copy), *options]) == 0
    assert set(read_json(run_copy / "result.json")["splits"]) == {"val", "holdout"}
    pictures = sorted(figures.iterdir())
    assert [picture.name for picture in pictures] == ["holdout-00000.png", "holdout-00002.png"]
    width, height = Image.open(pictures[0]).size
    assert width > 4 * 64
    assert height > 2 * 64


def test_other_protocols_are_kept_beside_the_own_one(run_copy: Path, capsys: Captured) -> None:
    """Those of the recipe are never replaced by others, and counts are kept likewise."""
    before = read_json(run_copy / "result.json")
    counts = (run_copy / "evaluation/val.npz").read_bytes()
    tried = {
        "val@scales=0.25": ["--scales", "0.25"],
        "val@last": ["--checkpoint", "last"],
        "val@last,flip,scales=0.5+1": ["--checkpoint", "last", "--flip", "--scales", "1", "0.5"],
        "holdout@window=32x64": ["--split", "holdout", "--window", "32", "64"],
    }
    for key, options in tried.items():
        assert main(["evaluate", str(run_copy), *options, "--json"]) == 0
        out, err = capsys.readouterr()
        assert f"scores are kept as {key!r}" in err
        assert read_json(run_copy / "result.json")["splits"][key] == json.loads(out)
        with np.load(run_copy / "evaluation" / f"{key}.npz") as arrays:
            assert arrays["pixels"].sum() > 0
    after = read_json(run_copy / "result.json")
    assert set(after["splits"]) == {"val", *tried}
    assert after["splits"]["val"] == before["splits"]["val"]
    assert after["cost"] == before["cost"]
    assert (run_copy / "evaluation/val.npz").read_bytes() == counts


def test_scores_of_other_data_are_not_replaced_in_silence(run_copy: Path, capsys: Captured) -> None:
    for file, change in (
        ("result.json", {"splits": {"val": {"data": "other", "epoch": 9}}, "cost": {}}),
        ("provenance.json", {"data": {"val": "other"}}),
    ):
        (run_copy / file).write_text(json.dumps(change))
    assert main(["evaluate", str(run_copy)]) == 0
    error = capsys.readouterr().err
    assert "warning: these scores replace earlier ones that differ in data, epoch\n" in error
    assert "warning: the data of split 'val' has changed since the run was trained\n" in error
    assert main(["evaluate", str(run_copy)]) == 0
    assert "replace" not in capsys.readouterr().err


@pytest.mark.parametrize("output", [[], ["--json"]])
def test_scores_that_cannot_be_written_are_printed(
    oracle_copy: Path, output: list[str], capsys: Captured
) -> None:
    (oracle_copy / "result.json").write_text("[")
    assert main(["evaluate", str(oracle_copy), *output]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["levels"][0]["miou"] == 1 if output else "1.000" in out
    assert err.splitlines()[-1].startswith(f"hieraseg: error: {oracle_copy}/result.json: is dam")
    assert (oracle_copy / "result.json").read_text() == "["


def test_number_of_drawn_images_is_checked(trained_run: Path, capsys: Captured) -> None:
    """The option's value is in the message."""
    assert main(["evaluate", str(trained_run), "--visualize", "--num_viz", "-1"]) == 2
    assert "--num_viz: must be a non-negative integer, got '-1'" in capsys.readouterr().err


def test_checkpoint_of_another_model(run_copy: Path, capsys: Captured) -> None:
    """Weights that do not fit the recipe are refused, and the scores are kept."""
    before = (run_copy / "result.json").read_bytes()
    recipe = run_copy / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("width: 8", "width: 16"))
    assert main(["evaluate", str(run_copy)]) == 2
    error = capsys.readouterr().err
    assert "weights of another model" in error
    assert f"{recipe} is not the one that" in error
    assert "was trained with (decoder.width: 8 -> 16)\n" in error
    assert (run_copy / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("parents", [[-1, -1], [0, 1, 1], [0, 1, 1, 2, 2, 1, 2]]),
        ("labels", [[0, "background"]]),
        ("void", [255]),
        ("background", None),
        ("pairs", [["low_hand", "up_hand"]]),
        ("classes", [["background", "body"]] * 2),
    ],
)
def test_a_changed_class_tree_is_refused(
    oracle_copy: Path, part: str, value: Any, capsys: Captured
) -> None:
    """All of it, and not the names of the classes alone."""
    best = oracle_copy / "checkpoints/best"
    metadata: dict[str, Any] = {**read_metadata(best), part: value}
    if part == "classes":
        metadata["num_classes"] = [2]
    save_checkpoint(best, read_weights(best / "model.safetensors"), metadata)
    assert main(["evaluate", str(oracle_copy)]) == 2
    assert f"no longer has the {part} that" in capsys.readouterr().err


def test_weights_that_were_changed_are_refused(run_copy: Path, capsys: Captured) -> None:
    file = run_copy / "checkpoints/best/model.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    assert main(["evaluate", str(run_copy)]) == 2
    assert f"{file}: is not the file that" in capsys.readouterr().err


def test_not_a_run_folder(tmp_path: Path, capsys: Captured) -> None:
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_plugin_files_are_announced_before_they_run(oracle_copy: Path, capsys: Captured) -> None:
    """Those of a run folder that someone else made are code of someone else."""
    plugin = oracle_copy / "plugins/oracle_plugin.py"
    plugin.write_text("print('it runs')\n" + plugin.read_text())
    provenance = read_json(oracle_copy / "provenance.json")
    digest = hashlib.sha256(plugin.read_bytes()).hexdigest()
    provenance["plugin_files"][0]["sha256"] = digest
    (oracle_copy / "provenance.json").write_text(json.dumps(provenance))
    assert main(["evaluate", str(oracle_copy), "--no-plugins"]) == 2
    error = capsys.readouterr().err
    assert "--no-plugins refuses" in error
    assert str(plugin) in error
    assert "it runs" not in error
    assert main(["evaluate", str(oracle_copy)]) == 0
    error = capsys.readouterr().err
    announced = error.index(f"running plugin files of the run folder: {plugin}")
    assert announced < error.index("it runs")


def test_plugins_of_a_run_folder_are_not_found_by_working_in_it(
    trained_run: Path, run_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The folder `plugins` of the working directory is the user's own, but not this one."""
    (run_copy / "plugins").mkdir()
    plugin = run_copy / "plugins/linear.py"
    source = 'from hieraseg import registry\n@registry.losses.register("mine")\nclass Mine: ...\n'
    plugin.write_text(source + "raise SystemExit('it runs')")
    recipe = run_copy / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("name: tree_min", "name: mine"))
    monkeypatch.chdir(run_copy)
    for options in ([], ["--no-plugins"]):
        assert main(["evaluate", ".", *options]) == 2
        error = capsys.readouterr().err
        assert "plugins/linear.py" in error
        assert "it runs" not in error


def test_no_plugins_allows_runs_without_them(trained_run: Path, run_copy: Path) -> None:
    assert main(["evaluate", str(run_copy), "--no-plugins"]) == 0


@pytest.mark.parametrize(
    "content",
    [None, b"", b"[]", b"\xff", b'{"plugin_files": []}', b'{"plugin_files": 3}', b"{}"],
)
def test_plugins_are_not_run_if_they_cannot_be_checked(
    oracle_copy: Path, content: bytes | None, capsys: Captured
) -> None:
    provenance = oracle_copy / "provenance.json"
    if content is None:
        provenance.unlink()
    else:
        provenance.write_bytes(content)
    (oracle_copy / "plugins/oracle_plugin.py").write_text("raise SystemExit('it runs')")
    assert main(["evaluate", str(oracle_copy)]) == 2
    error = capsys.readouterr().err
    assert "provenance.json" in error
    assert "it runs" not in error


def test_a_changed_or_foreign_plugin_file_is_not_run(oracle_copy: Path, capsys: Captured) -> None:
    other = oracle_copy / "other.py"
    other.write_text("raise SystemExit('it runs')")
    recipe = oracle_copy / "recipe.yaml"
    text = recipe.read_text()
    for plugins in ("[other.py]", "[plugins/oracle_plugin.py, other.py]"):
        recipe.write_text(text.replace("[plugins/oracle_plugin.py]", plugins))
        assert main(["evaluate", str(oracle_copy)]) == 2
        error = capsys.readouterr().err
        assert f"{other} is not a plugin file that the run recorded" in error
        assert "it runs" not in error
    (oracle_copy / "base.yaml").write_text("plugins: [other.py]")
    recipe.write_text(f"base: base.yaml\n{text}")
    assert main(["evaluate", str(oracle_copy)]) == 2
    assert f"{other} is not a plugin file that the run recorded" in capsys.readouterr().err
    recipe.write_text(text)
    (oracle_copy / "plugins/oracle_plugin.py").write_text(other.read_text())
    assert main(["evaluate", str(oracle_copy)]) == 2
    error = capsys.readouterr().err
    assert "oracle_plugin.py: was changed after the run" in error
    assert "it runs" not in error


def test_a_recipe_with_a_comment_is_the_same(run_copy: Path, capsys: Captured) -> None:
    """So is one that only says where things are, or what is written."""
    recipe = run_copy / "recipe.yaml"
    text = recipe.read_text()
    assert "images: 4" in text
    recipe.write_text("# the baseline\n\n" + text.replace("images: 4", "images:   7"))
    assert main(["evaluate", str(run_copy)]) == 0
    assert "warning" not in capsys.readouterr().err


def test_settings_of_training_that_are_refused_today_do_not_matter(
    run_copy: Path, capsys: Captured
) -> None:
    """As those of older runs. They are not used, unlike those of an inference rule."""
    recipe = run_copy / "recipe.yaml"
    content = read_plain(recipe)
    old = {
        "loss": {"name": "tree_min", "gamma": -1.0},
        "optimizer": {"name": "no_such_optimizer"},
        "schedule": {"name": "multistep", "milestones": [0.5, 1.0]},
        "trackers": [{"name": "csv", "path": 1}],
    }
    recipe.write_text(as_yaml(content | old))
    assert main(["evaluate", str(run_copy)]) == 0
    assert main(["resume", str(run_copy)]) == 2
    error = capsys.readouterr().err
    assert all(section in error.partition("error:")[2] for section in old)
    recipe.write_text(as_yaml(content | {"inference": {"name": "no_such_rule"}}))
    assert main(["evaluate", str(run_copy)]) == 2
    assert "no_such_rule" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_says_what_to_write_instead(
    run_copy: Path, capsys: Captured
) -> None:
    recipe = run_copy / "recipe.yaml"
    before, after = recipe.read_text().split("data:\n")
    recipe.write_text(f"{before}data:\n  size: [64, 64]\n{after}")
    assert main(["evaluate", str(run_copy)]) == 2
    error = capsys.readouterr().err
    assert f"{recipe}:" in error
    assert "data.size: is input.size now" in error
