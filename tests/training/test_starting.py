"""Runs that start from the weights of another run or of a file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import hieraseg
from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.model.parts import in_parts
from hieraseg.runs.checkpoint import save_checkpoint
from tests.support.runs import QUICKSTART, SMALL, read_json, run_recipe

OTHER_TREE = {"hierarchy": "pascal_person_part"}
"""With as many classes per level as pascal_part: 2, 3 and 7; but only some of the same names."""
RENAMED_TREE = """
tree:
  background:
  body:
    upper_body: [head, torso, upper_arms, lower_arms]
    lower_body: [upper_legs, lower_legs]
labels:
  {0: background, 1: lower_arms, 2: torso, 3: lower_legs, 4: head, 5: upper_legs, 6: upper_arms}
"""
"""The same tree, with the labels of quickstart."""
HEAD = "decoder.branches.2.classifier"
SAME = {"background": (0, 0), "torso": (2, 2), "head": (4, 1)}
"""Rows of the classes with the same name in the old and in the new head of level 3."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on the tree of pascal_part. Tests must not change it."""
    out = tmp_path_factory.mktemp("source")
    return run_recipe(out, "--training.epochs", "1", "--logging.images", "0")


def weights_of(run: Path, which: str = "best") -> dict[str, Tensor]:
    return load_file(run / "checkpoints" / which / "model.safetensors")


def start(overrides: dict[str, Any] | None = None) -> dict[str, Tensor]:
    """The weights that a small run of quickstart starts with."""
    small = {"backbone.weights": None, "decoder.width": 8}
    state: dict[str, Tensor] = hieraseg.build(
        QUICKSTART, {**small, **(overrides or {})}
    ).model.state_dict()
    return state


def refused(overrides: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as error:
        start(overrides)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("where", ["", "checkpoints/best"])
def test_a_run_of_the_same_recipe(source: Path, where: str) -> None:
    loaded, trained = start({"init.from": source / where}), weights_of(source)
    assert loaded.keys() == trained.keys()
    assert all(torch.equal(loaded[name], trained[name]) for name in trained)


def test_heads_of_another_tree_are_kept_by_class_name(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All else is as in the run; classes that are new have the weights of a fresh model."""
    capsys.readouterr()
    loaded = start({**OTHER_TREE, "init.from": source, "init.strict": False})
    lines = capsys.readouterr().err.splitlines()
    trained, fresh = weights_of(source), start(OTHER_TREE)
    for name, tensor in loaded.items():
        if not name.startswith(HEAD):
            assert torch.equal(tensor, trained[name]), name
    for kind in ("weight", "bias"):
        name = f"{HEAD}.{kind}"
        expected = fresh[name].clone()
        for old, new in SAME.values():
            expected[new] = trained[name][old]
        assert torch.equal(loaded[name], expected)
    assert lines == [
        f"init: loads {len(loaded)} of {len(loaded)} tensors from "
        f"{source}/checkpoints/best/model.safetensors",
        "init: level 1 keeps the weights of 2 of 2 classes; level 2 keeps the weights of 3 of 3 "
        "classes; level 3 keeps the weights of 3 of 7 classes (new: upper_arms, lower_arms, "
        "upper_legs, ...)",
        f"init: tensors that do not fit: 2 of other classes ({HEAD}.weight, {HEAD}.bias)",
    ]


def test_heads_of_leaves_alone(source: Path) -> None:
    """A loss of the leaves has one head, which has the name of the run's head of level 1."""
    leaves = {**OTHER_TREE, "loss": "hxe", "init.from": source, "init.strict": False}
    loaded, fresh = start(leaves), start({**OTHER_TREE, "loss": "hxe"})
    for kind in ("weight", "bias"):
        name = f"decoder.branches.0.classifier.{kind}"
        assert loaded[name].shape[0] == 7
        assert torch.equal(loaded[name], fresh[name])


def test_all_has_to_fit_by_default(source: Path) -> None:
    assert refused({**OTHER_TREE, "init.from": source}) == (
        f"command line: init.from: {source}/checkpoints/best/model.safetensors: tensors do not fit "
        f"the model: 2 of other classes ({HEAD}.weight, {HEAD}.bias); set init.strict to false to "
        "load the others, or init.drop to [head]"
    )
    wider = refused({"decoder.width": 12, "init.from": source})
    assert "of another shape or type (decoder.branches.0.blocks.0.0.weight, [8, " in wider


@pytest.mark.parametrize("dropped", ["head", "backbone", "decoder.branches.1"])
def test_dropped_parts_are_those_of_a_fresh_model(source: Path, dropped: str) -> None:
    loaded = start({"init.from": source, "init.drop": [dropped]})
    trained, fresh = weights_of(source), start()
    belongs = in_parts(hieraseg.build(QUICKSTART, {"backbone.weights": None}).model, [dropped], "")
    for name, tensor in loaded.items():
        expected = fresh if belongs(name) else trained
        assert torch.equal(tensor, expected[name]), name


def test_unknown_parts_are_refused(source: Path) -> None:
    message = refused({"init.from": source, "init.drop": ["decoder.branch"]})
    assert (
        message
        == "command line: init.drop: the model has no part 'decoder.branch', did you mean "
        + ("'decoder.branches'?")
    )
    everything = {"init.from": source, "init.drop": ["backbone", "head"]}
    assert refused(everything) == "command line: init.from: init.drop leaves nothing to load"


def test_a_state_dict_with_a_prefix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its classes are not known, which is said."""
    given = {name: torch.full_like(one, 2) for name, one in start().items()}
    torch.save(
        {"state_dict": {f"module.{name}": one for name, one in given.items()}}, tmp_path / "w"
    )
    capsys.readouterr()
    loaded = start({"init.from": tmp_path / "w"})
    assert "those of the recipe are assumed" in capsys.readouterr().err
    assert all(torch.equal(loaded[name], given[name]) for name in given)


def test_a_run_whose_plugin_is_missing(source: Path, tmp_path: Path) -> None:
    """Only its checkpoint is read."""
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    (copy / "recipe.yaml").write_text("plugins: [gone.py]\nloss: gone\n")
    assert torch.equal(
        start({"init.from": copy})[f"{HEAD}.weight"], weights_of(source)[f"{HEAD}.weight"]
    )


def test_files_that_cannot_be_used(source: Path, tmp_path: Path) -> None:
    def problem(path: Path, **overrides: Any) -> str:
        return refused({"init.from": path, **overrides}).removeprefix("command line: init.from: ")

    (tmp_path / "text.pth").write_text("no weights")
    assert problem(tmp_path / "text.pth").startswith(f"{tmp_path}/text.pth: cannot be read as")
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "other.pth")
    other = problem(tmp_path / "other.pth", **{"init.strict": False})
    assert other.startswith(f"{tmp_path}/other.pth: no tensor fits the model: ")
    (tmp_path / "empty").mkdir()
    assert problem(tmp_path / "empty").startswith(f"{tmp_path}/empty: is neither a run folder nor")
    (tmp_path / "empty" / "recipe.yaml").touch()
    assert "no such checkpoint" in problem(tmp_path / "empty")
    changed = Path(shutil.copytree(source, tmp_path / "changed")) / "checkpoints/best"
    with (changed / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert "is not the file that checksums.json was written for" in problem(tmp_path / "changed")


def test_a_model_that_cannot_be_built_for_another_tree(source: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "seven.py"
    plugin.write_text(
        "from hieraseg import registry\n"
        "SkipDecoder = registry.decoders.get('skip')\n"
        "@registry.decoders.register('seven')\n"
        "class Seven(SkipDecoder):\n"
        "    '''For seven leaves.'''\n"
        "    def __init__(self, channels, num_classes):\n"
        "        if num_classes[-1] != 7:\n"
        "            raise ValueError('expects seven leaves')\n"
        "        super().__init__(channels, num_classes, 8)\n"
    )
    overrides = {"backbone.weights": None, "decoder": "seven", **OTHER_TREE, "init.from": source}
    with pytest.raises(RecipeError) as error:
        hieraseg.build(QUICKSTART, {**overrides, "init.strict": False}, [plugin])
    assert "expects seven leaves" in str(error.value)
    assert str(error.value).endswith("set init.drop to [head]")
    hieraseg.build(QUICKSTART, {**overrides, "init.drop": ["head"]}, [plugin])


def test_a_path_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "tuned.yaml"
    recipe.write_text("base: quickstart\ninit: {from: runs/gone}\n")
    assert main(["run", str(recipe), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hieraseg: error: {recipe}:2: init.from: {tmp_path}/runs/gone: no such file or folder; "
        "set init.from to an existing one"
    )
    assert not (tmp_path / "out").exists()


def test_a_fine_tuned_run(source: Path, tmp_path: Path) -> None:
    """Frozen weights stay bit by bit; nothing but a new run of its recipe reads the first run."""
    first = Path(shutil.copytree(source, tmp_path / "first"))
    recipe = tmp_path / "tuned.yaml"
    (tmp_path / "tree.yaml").write_text(RENAMED_TREE)
    recipe.write_text(
        f"base: {QUICKSTART}\nhierarchy: {{name: file, path: tree.yaml}}\n"
        "init: {from: first, strict: false}\ntraining: {epochs: 1, freeze: [backbone]}\n"
        "logging: {images: 0}\noptimizer: {weight_decay: 0.1}\n"
    )
    run = run_recipe(tmp_path / "out", recipe=str(recipe))
    before, after = weights_of(source), weights_of(run, "last")
    unchanged = {name for name in after if torch.equal(after[name], before[name])}
    assert unchanged == {name for name in after if name.startswith("backbone.")}
    checkpoint = first / "checkpoints/best/model.safetensors"
    record = read_json(run / "provenance.json")["init"]
    checksums = read_json(checkpoint.parent / "checksums.json")
    assert record == {"file": str(checkpoint), "sha256": checksums[checkpoint.name]}
    state = torch.load(run / "checkpoints/last/state.pt", weights_only=True)
    trained = sum(not name.startswith("backbone.") for name in before)
    assert 0 < len(state["optimizer"]["state"]) < trained
    assert "  from: " + str(first) in (run / "recipe.yaml").read_text().splitlines()
    assert main(["validate", str(run / "recipe.yaml")]) == 0
    shutil.rmtree(first)
    assert main(["evaluate", str(run)]) == 0
    assert main(["run", str(run / "recipe.yaml"), "--out", str(tmp_path / "again"), *SMALL]) == 2


@pytest.mark.slow
def test_several_processes_freeze_the_same(source: Path, tmp_path: Path) -> None:
    options = ["--init.from", str(source), "--training.freeze", "[backbone]"]
    options += ["--training.epochs", "1", "--training.devices", "2", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "hieraseg", "run", QUICKSTART, *SMALL, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = next(tmp_path.glob("*/*/result.json")).parent
    before, after = weights_of(source), weights_of(run, "last")
    unchanged = {name for name in after if torch.equal(after[name], before[name])}
    assert unchanged == {name for name in after if name.startswith("backbone.")}


def test_nothing_left_to_train() -> None:
    assert refused({"training.freeze": ["backbone", "head"]}) == (
        "command line: training.freeze: freezes all weights of the model, so nothing is trained; "
        "freeze less"
    )


def test_not_finite_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They end a run before its first step."""
    state = start()
    torch.save({**state, f"{HEAD}.bias": state[f"{HEAD}.bias"] * float("nan")}, tmp_path / "w.pth")
    options = ["--init.from", str(tmp_path / "w.pth"), "--out", str(tmp_path / "out")]
    assert main(["run", QUICKSTART, *SMALL, *options]) == 2
    assert f"the weights {HEAD}.bias are not finite" in capsys.readouterr().err


def test_metadata_of_leaves_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one head of such a run is that of the leaves."""
    leaves = {"loss": "hxe"}
    tree = hieraseg.build(QUICKSTART, {"backbone.weights": None}).hierarchy
    metadata = {
        "epoch": 1,
        "num_classes": [7],
        "activation": "leaf_softmax",
        "size": [64, 64],
        "classes": tree.level_names,
    }
    given = {name: torch.full_like(one, 2) for name, one in start(leaves).items()}
    save_checkpoint(tmp_path / "leaves", given, json.loads(json.dumps(metadata)))
    other = {**OTHER_TREE, **leaves}
    loaded = start({**other, "init.from": tmp_path / "leaves", "init.strict": False})
    bias, fresh = (one["decoder.branches.0.classifier.bias"] for one in (loaded, start(other)))
    new = [new for _, new in SAME.values()]
    assert [row for row in range(7) if bias[row] == 2] == sorted(new)
    assert "init: level 3 keeps the weights of 3 of 7 classes" in capsys.readouterr().err
    assert all(bias[row] == fresh[row] for row in range(7) if row not in new)
