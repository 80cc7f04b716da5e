"""Every kind of problem, through `validate` and `run`: its exit code, place, key and words.

`run` must refuse what `validate` refuses, and leave no run folder. What a line of a section looks
like to the checker is tested in detail in `test_recipe_checking` and `test_nested_components`.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hieraseg.cli import main
from hieraseg.recipe.checking import SECTIONS

RECIPE = """\
hierarchy: pascal_part
data: {name: mannequins, size: [64, 64]}
backbone: {name: resnet50}
decoder: skip
loss:
  name: sum
  losses:
    - tree_min
    - {name: focal, gamma: 2}
inference: best_path
optimizer: {name: adamw, lr: 1e-3}
schedule: cosine
training: {epochs: 1, seed: 3}
"""
LOSS = """\
from hieraseg import Hierarchy, Loss, registry


@registry.losses.register("NAME")
class Mine(Loss):
    def __init__(self, hierarchy: Hierarchy, scale: float = 1.0) -> None:
        super().__init__()
"""
Captured = pytest.CaptureFixture[str]


class Expected(NamedTuple):
    """One line of the answer: a place, a key, and words of the text in their order."""

    place: str
    key: str
    words: str | list[str] = ""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, in which nothing has been run afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIERASEG_PLUGINS", raising=False)
    yield tmp_path
    assert not (tmp_path / "runs").exists()


def put(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def without(section: str) -> str:
    """The recipe without a section."""
    return re.sub(rf"^{section}:.*\n(?: .*\n)*", "", RECIPE, flags=re.MULTILINE)


def with_section(section: str, text: str) -> str:
    """The recipe with another text for a section, which starts on line 1."""
    return f"{text}\n{without(section)}"


def refused(capsys: Captured, *words: str, code: int = 2) -> list[str]:
    """The problems of `validate` and of `run`, which have to be the same."""
    assert main(["validate", "r.yaml", *words]) == code
    out_of_validate, err = capsys.readouterr()
    assert not err
    lines = out_of_validate.splitlines()
    assert main(["run", "r.yaml", *words]) == code
    out, err = capsys.readouterr()
    assert not out
    assert err == "hieraseg: error:" + (" " if len(lines) == 1 else "\n") + out_of_validate
    return lines


def check(lines: list[str], *expected: Expected) -> None:
    """Each line has its place, its key and its words, and there is no other line.

    Lines are in the order of the file; those of the command line are put last.
    """
    lines = sorted(lines, key=lambda line: line.startswith("command line: "))
    assert len(lines) == len(expected), lines
    for line, (place, key, words) in zip(lines, expected, strict=True):
        start = f"{place}: {key}: " if key else f"{place}: "
        assert line.startswith(start), line
        text = line.removeprefix(start)
        for word in [words] if isinstance(words, str) else words:
            assert word in text, line
            text = text.partition(word)[2]


# One problem in the file.

IN_THE_FILE: dict[str, tuple[str, Expected]] = {
    "unknown section": (
        RECIPE + "trainning: {epochs: 2}\n",
        Expected("r.yaml:14", "trainning", "unknown section, did you mean 'training'?"),
    ),
    "unknown key of a component": (
        with_section("optimizer", "optimizer:\n  name: adamw\n  weight_decai: 1"),
        Expected("r.yaml:3", "optimizer.weight_decai",
                 "optimizer 'adamw' has no such key, did you mean 'weight_decay'?"),
    ),
    "unknown key of the core": (
        with_section("training", "training:\n  epochs: 1\n  batchsize: 4"),
        Expected("r.yaml:3", "training.batchsize",
                 "training has no such key, did you mean 'batch_size'?"),
    ),
    "unknown component": (
        with_section("backbone", "backbone:\n  name: resnet5O"),
        Expected("r.yaml:2", "backbone",
                 "unknown backbone 'resnet5O', did you mean 'resnet50'?"),
    ),
    "wrong type": (
        with_section("training", "training: {seed: 1,\n  epochs: many}"),
        Expected("r.yaml:2", "training.epochs", "expected an int, got 'many'"),
    ),
    "float for int": (
        with_section("data", "data: {name: mannequins,\n  train_images: 8.0}"),
        Expected("r.yaml:2", "data.train_images", "expected an int, got 8.0"),
    ),
    "bool for number": (
        with_section("optimizer", "optimizer: {name: adamw, lr: on}"),
        Expected("r.yaml:1", "optimizer.lr", "expected a float, got true"),
    ),
    "too short a list": (
        with_section("data", "data: {name: mannequins, size: [64]}"),
        Expected("r.yaml:1", "data.size", "expected a list [int, int], got [64]"),
    ),
    "scalar for list": (
        with_section("data", "data: {name: mannequins, size: 64}"),
        Expected("r.yaml:1", "data.size", "expected a list [int, int], got 64"),
    ),
    "choice": (
        with_section("training", "training:\n  precision: bf16-mixd"),
        Expected("r.yaml:2", "training.precision",
                 ["expected one of '32-true', 'bf16-mixed', '16-mixed', got 'bf16-mixd'",
                  "did you mean 'bf16-mixed'?"]),
    ),
    "choice of numbers": (
        with_section("backbone", "backbone: {name: efficientnet_lite, variant: 3}"),
        Expected("r.yaml:1", "backbone.variant", "expected one of 0, 1, 2, got 3"),
    ),
    "range of an int": (
        with_section("training", "training:\n  epochs: 2\n  batch_size: 0"),
        Expected("r.yaml:3", "training.batch_size", "batch_size is 0, but must be at least 1"),
    ),
    "range of a float": (
        with_section("evaluation", "evaluation: {flip: no,\n  window_overlap: 1}"),
        Expected("r.yaml:2", "evaluation.window_overlap", "must be at least 0 and below 1"),
    ),
    "range of a list": (
        with_section("evaluation", "evaluation: {scales: [1, 0]}"),
        Expected("r.yaml:1", "evaluation.scales", "one or more numbers above 0, up to 16"),
    ),
    "null": (
        with_section("optimizer", "optimizer:\n  name: adamw\n  lr:"),
        Expected("r.yaml:3", "optimizer.lr", "expected a float, got null"),
    ),
    "quoted number": (
        with_section("optimizer", 'optimizer:\n  name: adamw\n  lr: "1e-3"'),
        Expected("r.yaml:3", "optimizer.lr",
                 "expected a float, got '1e-3', which is a string: remove the quotes"),
    ),
    "duplicate section": (
        RECIPE + "loss: tree_min\n",
        Expected("r.yaml:14", "loss", "duplicate key (first on line 5); keep one"),
    ),
    "duplicate key": (
        with_section("training", "training:\n  epochs: 1\n  seed: 0\n  epochs: 2"),
        Expected("r.yaml:4", "training.epochs", "duplicate key (first on line 2); keep one"),
    ),
    "missing argument": (
        with_section("hierarchy", "hierarchy: file"),
        Expected("r.yaml:1", "hierarchy.path", ["missing; hierarchy 'file' needs it: of the file"]),
    ),
    "missing section": (
        without("schedule"),
        Expected("r.yaml:1", "schedule", "missing; choose one of cosine, poly"),
    ),
    "section without a name": (
        with_section("schedule", "schedule: {warmup: 0.1}"),
        Expected("r.yaml:1", "schedule", "names no component; choose one of cosine, poly"),
    ),
    "empty section of the core": (
        with_section("training", "training:"),
        Expected("r.yaml:1", "training", "expected a mapping, got null"),
    ),
    "empty section of a component": (
        with_section("loss", "loss:"),
        Expected("r.yaml:1", "loss", "expected a name or a mapping with a name, got null"),
    ),
    "list for a section": (
        with_section("training", "training:\n  - epochs: 2"),
        Expected("r.yaml:1", "training", "expected a mapping, got a list"),
    ),
    "list of components for a section": (
        with_section("loss", "loss: [tree_min, focal]"),
        Expected("r.yaml:1", "loss", "expected a name or a mapping with a name, got a list"),
    ),
    "empty file": ("# to be written\n", Expected("r.yaml:1", "", "the recipe is empty; it needs")),
    "no mapping": (
        "- loss: tree_min\n",
        Expected("r.yaml:1", "", "a recipe is a mapping of sections, got a list"),
    ),
    "no YAML": (
        RECIPE.replace("size: [64, 64]", "size: [64, 64"),
        Expected("r.yaml:2", "", "not valid YAML: "),
    ),
    "tab": (RECIPE + "logging:\n\timages: 1\n", Expected("r.yaml:15", "", "not valid YAML: ")),
    "merge key": (
        with_section("loss", "loss:\n  name: focal\n  <<: {gamma: 1}"),
        Expected("r.yaml:3", "loss", "merge keys (<<) are not supported; write the value out"),
    ),
    "alias": (
        RECIPE.replace("tree_min", "&it tree_min").replace("best_path", "*it"),
        Expected("r.yaml:10", "", "aliases (*name) are not supported; write the value out"),
    ),
    "base is missing": (
        "loss: tree_min\nbase: quickstrat\n",
        Expected("r.yaml:2", "base", "no such recipe file 'quickstrat'"),
    ),
    "base is a folder": ("base: .\n", Expected("r.yaml:1", "base", "no such recipe file '.'")),
    "base is the recipe": (
        "\nbase: ./r.yaml\n",
        Expected("r.yaml:2", "base", "circular reference: r.yaml -> r.yaml"),
    ),
    "base is no text": ("base: 5\n", Expected("r.yaml:1", "base", "expected the path of a recipe")),
    "nested unknown key": (
        RECIPE.replace("gamma: 2", "gama: 2"),
        Expected("r.yaml:9", "loss.losses[1].gama",
                 "loss 'focal' has no such key, did you mean 'gamma'?"),
    ),
    "nested unknown component": (
        RECIPE.replace("- tree_min", "- tree_mn"),
        Expected("r.yaml:8", "loss.losses[0]",
                 "unknown loss 'tree_mn', did you mean 'tree_min'?"),
    ),
    "nested type": (
        RECIPE.replace("gamma: 2", "gamma: [2]"),
        Expected("r.yaml:9", "loss.losses[1].gamma", "expected a float, got [2]"),
    ),
    "nested quoted number": (
        RECIPE.replace("gamma: 2", "gamma: '2'"),
        Expected("r.yaml:9", "loss.losses[1].gamma",
                 "got '2', which is a string: remove the quotes"),
    ),
    "nested null": (
        RECIPE.replace("gamma: 2", "gamma: ~"),
        Expected("r.yaml:9", "loss.losses[1].gamma", "expected a float, got null"),
    ),
    "nested missing argument": (
        RECIPE.replace("- tree_min", "- name: sum"),
        Expected("r.yaml:8", "loss.losses[0].losses", "missing; loss 'sum' needs it"),
    ),
    "nested choice two levels down": (
        RECIPE.replace("- tree_min", "- name: sum\n      losses:\n        - name: hssn\n"
                       "          published: citscapes"),
        Expected("r.yaml:11", "loss.losses[0].losses[0].published", "did you mean 'cityscapes'?"),
    ),
    "weights file": (
        RECIPE.replace("resnet50", "resnet50, weights: models/r50.pth"),
        Expected("r.yaml:3", "backbone.weights",
                 ["models/r50.pth: no such file or folder; set backbone.weights"]),
    ),
    "hierarchy file": (
        with_section("hierarchy", "hierarchy:\n  name: file\n  path: tree.yaml"),
        Expected("r.yaml:3", "hierarchy.path",
                 "tree.yaml: no such file or folder; set hierarchy.path to an existing one"),
    ),
    "plugin file": (
        RECIPE + "plugins:\n  - my_loss.py\n",
        Expected("r.yaml:15", "plugins[0]", "no such plugin file 'my_loss.py'"),
    ),
    "plugin folder for a file": (
        RECIPE + "plugins: [.]\n",
        Expected("r.yaml:14", "plugins[0]", "plugin file '.' cannot be read: Is a directory"),
    ),
    "plugin without a list": (
        RECIPE + "plugins: my_loss.py\n",
        Expected("r.yaml:14", "plugins", "expected a list of plugin files, as in [my_loss.py]"),
    ),
    "plugin that is null": (
        RECIPE + "plugins: [null]\n",
        Expected("r.yaml:14", "plugins", "expected a list of plugin files, as in [my_loss.py]"),
    ),
    "variable that is not set": (
        RECIPE.replace("seed: 3", 'seed: "${HIERASEG_NOT_SET}"'),
        Expected("r.yaml:13", "training.seed",
                 ["the environment variable HIERASEG_NOT_SET is not set",
                  "${HIERASEG_NOT_SET:-default}"]),
    ),
    "variable that is malformed": (
        RECIPE.replace("seed: 3", 'seed: "${HIERASEG-NOT-SET}"'),
        Expected("r.yaml:13", "training.seed",
                 "expected ${NAME} or ${NAME:-default}, got '${HIERASEG-NOT-SET}'"),
    ),
    "variable without quotes in braces": (
        RECIPE.replace("seed: 3", "seed: ${HIERASEG_NOT_SET:-3}"),
        Expected("r.yaml:13", "", ["not valid YAML", "a variable needs quotes"]),
    ),
    "variable of another type": (
        RECIPE.replace("seed: 3", 'seed: "${HIERASEG_NOT_SET:-three}"'),
        Expected("r.yaml:13", "training.seed", "expected an int, got 'three'"),
    ),
    "nested variable that is not set": (
        RECIPE.replace("gamma: 2", 'gamma: "${HIERASEG_NOT_SET}"'),
        Expected("r.yaml:9", "loss.losses[1].gamma", "HIERASEG_NOT_SET is not set"),
    ),
    "tag of a variable": (
        RECIPE.replace("seed: 3", 'seed: !!int "${HIERASEG_NOT_SET:-3}"'),
        Expected("r.yaml:13", "training.seed", "a value with a variable cannot have the tag"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_THE_FILE)
def test_a_problem_in_the_file(name: str, capsys: Captured) -> None:
    text, expected = IN_THE_FILE[name]
    put("r.yaml", text)
    check(refused(capsys), expected)


def test_the_recipe_of_the_tables_is_right(capsys: Captured) -> None:
    put("r.yaml", RECIPE)
    assert main(["validate", "r.yaml"]) == 0
    assert capsys.readouterr().out == "r.yaml: ok\n"


@pytest.mark.parametrize("section", ["hierarchy", "data", "backbone", "decoder", "loss",
                                     "inference", "optimizer", "schedule"])  # fmt: skip
def test_each_section_of_a_component_is_needed_and_takes_known_names(
    section: str, capsys: Captured
) -> None:
    put("r.yaml", without(section))
    check(refused(capsys), Expected("r.yaml:1", section, "missing; choose one of "))
    put("r.yaml", with_section(section, f"\n{section}: zzz"))
    words = [f"unknown {section} 'zzz', known: "]
    check(refused(capsys), Expected("r.yaml:2", section, words))
    put("r.yaml", with_section(section, f"{section}:\n\n  - zzz"))
    check(refused(capsys), Expected("r.yaml:1", section, "got a list"))


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_refuses_unknown_keys(section: str, capsys: Captured) -> None:
    put("r.yaml", RECIPE)
    override = [f"--{section}.zzz", "1"]
    check(refused(capsys, *override), Expected("command line", f"{section}.zzz", "has no "))


# On the command line.

TYPED: dict[str, tuple[list[str], Expected]] = {
    "unknown section": (
        ["--optimiser.lr", "1"],
        Expected("command line", "optimiser", "unknown section, did you mean 'optimizer'?"),
    ),
    "unknown key": (
        ["--optimizer.lrr=1"],
        Expected("command line", "optimizer.lrr", "no such key, did you mean 'lr'?"),
    ),
    "unknown component": (
        ["--inference", "bestpath"],
        Expected("command line", "inference", "did you mean 'best_path'?"),
    ),
    "type": (
        ["--training.epochs", "1.5"],
        Expected("command line", "training.epochs", "expected an int, got 1.5"),
    ),
    "choice": (
        ["--training.device", "gpu"],
        Expected("command line", "training.device", "expected one of 'auto', 'cpu', 'cuda'"),
    ),
    "range": (
        ["--training.seed", "-1"],
        Expected("command line", "training.seed", "seed is -1, but must be at least 0"),
    ),
    "null": (
        ["--optimizer.lr", "null"],
        Expected("command line", "optimizer.lr", "expected a float, got null"),
    ),
    "quoted number": (
        ["--optimizer.lr", "'1'"],
        Expected("command line", "optimizer.lr", "remove the quotes"),
    ),
    "no YAML": (
        ["--data.size", "[64, 64"],
        Expected("command line", "data.size", "'[64, 64' is not valid YAML: "),
    ),
    "duplicate key": (
        ["--schedule", "{name: cosine, warmup: 0, warmup: 1}"],
        Expected("command line", "schedule.warmup", "duplicate key; keep one"),
    ),
    "nested": (
        ["--loss.losses", "[bce, {name: sum, losses: [{name: focal, gama: 1}]}]"],
        Expected("command line", "loss.losses[1].losses[0].gama", "did you mean 'gamma'?"),
    ),
    "supplied by the runner": (
        ["--loss.hierarchy", "pascal_part"],
        Expected("command line", "loss.hierarchy", "is supplied by the runner; remove it"),
    ),
    "weights file": (
        ["--backbone.weights", "nowhere.pth"],
        Expected("command line", "backbone.weights", "nowhere.pth: no such file or folder"),
    ),
    "path with a line separator": (
        ["--backbone.weights", '"a\\u2028b"'],
        Expected("command line", "backbone.weights", "'a\\u2028b': no such file or folder"),
    ),
    "plugin file": (
        ["--plugin", "nowhere.py"],
        Expected("command line", "--plugin", "no such plugin file 'nowhere.py'"),
    ),
    "base": (
        ["--base.x", "1"],
        Expected("command line", "base.x", "can only be given in a recipe file"),
    ),
    "variable": (
        ["--training.seed", "${HIERASEG_NOT_SET}"],
        Expected("command line", "training.seed", "HIERASEG_NOT_SET is not set"),
    ),
}


@pytest.mark.parametrize("name", TYPED)
def test_a_problem_on_the_command_line(name: str, capsys: Captured) -> None:
    words, expected = TYPED[name]
    put("r.yaml", RECIPE)
    check(refused(capsys, *words), expected)


# In base recipes.


def test_a_circle_of_base_recipes_names_the_file_that_closes_it(capsys: Captured) -> None:
    put("r.yaml", "base: sub/b.yaml\n")
    put("sub/b.yaml", "\nbase: c.yaml\n")
    put("sub/c.yaml", "\n\nbase: ../r.yaml\n")
    chain = "circular reference: r.yaml -> sub/b.yaml -> sub/c.yaml -> r.yaml"
    check(refused(capsys), Expected("sub/c.yaml:3", "base", chain))


def test_problems_in_a_base_recipe_and_above_it(capsys: Captured) -> None:
    put("sub/base.yaml", RECIPE.replace("gamma: 2", "gama: 2") + "plugins: [nowhere.py]\n")
    put("r.yaml", "base: sub/base.yaml\n\ntraining:\n  epoch: 2\n")
    check(
        refused(capsys),
        Expected("r.yaml:4", "training.epoch", "did you mean 'epochs'?"),
        Expected("sub/base.yaml:9", "loss.losses[1].gama", "did you mean 'gamma'?"),
        Expected("sub/base.yaml:14", "plugins[0]", "no such plugin file 'sub/nowhere.py'"),
    )


def test_an_empty_base_recipe(capsys: Captured) -> None:
    put("base.yaml", "\n")
    put("r.yaml", "base: base.yaml\n")
    check(refused(capsys), Expected("base.yaml:1", "", "the recipe is empty"))


# Data that are not there.


def test_a_missing_data_folder_is_a_warning_of_validate_and_exit_3_of_run(capsys: Captured) -> None:
    put("r.yaml", with_section("data", "data:\n  name: pascal_part\n  root: nowhere/data"))
    said = "r.yaml:3: data.root: nowhere/data: no such data folder; set data.root to an existing"
    said += " is there"
    assert main(["validate", "r.yaml"]) == 0
    assert capsys.readouterr().out == f"r.yaml: ok, but a run needs its data: {said}\n"
    assert main(["validate", "r.yaml", "--build"]) == 3
    assert capsys.readouterr().out == f"{said}\n"
    assert main(["run", "r.yaml"]) == 3
    assert capsys.readouterr() == ("", f"hieraseg: error: {said}\n")
    # A problem in the recipe counts for more, and is said beside it.
    check(
        refused(capsys, "--training.epochs", "0"),
        Expected("r.yaml:3", "data.root", "no such data folder"),
        Expected("command line", "training.epochs", "epochs is 0"),
    )


# Plugin files that are broken.

BROKEN: dict[str, tuple[str, list[str]]] = {
    "SyntaxError": ("x = 1\ndef f(:\n", ["p.py:2 cannot be imported: SyntaxError: invalid syntax"]),
    "ImportError": (
        "import os\nfrom os import nothing_such\n",
        ["p.py:2 cannot be imported: ImportError: cannot import name 'nothing_such'"],
    ),
    "ModuleNotFoundError": (
        "\n\nimport not_there\n",
        ["p.py:3 cannot be imported: ModuleNotFoundError: No module named 'not_there'"],
    ),
    "raises": (
        "def f():\n    raise ValueError('no\\nluck')\nf()\n",
        ["p.py:2 cannot be imported: ValueError: no luck"],
    ),
    "sys.exit": ("import sys\nsys.exit('enough')\n", ["p.py:2 cannot be imported: SystemExit"]),
    "sys.exit(0)": ("import sys\nsys.exit(0)\n", ["p.py:2 cannot be imported: SystemExit: 0"]),
    "registers nothing": ("x = 1\n", ["p.py registers no component: decorate one with"]),
    "registers twice": (LOSS + LOSS, ["p.py cannot be used: it registers the loss 'NAME' twice"]),
    "is no text": ("\x00", ["p.py cannot be imported: "]),
    "is empty": ("", ["p.py registers no component"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_file(name: str, capsys: Captured) -> None:
    text, words = BROKEN[name]
    put("p.py", text)
    put("r.yaml", RECIPE + "plugins:\n- p.py\n")
    check(refused(capsys), Expected("r.yaml:15", "plugins[0]", words))
    put("r.yaml", RECIPE)
    check(refused(capsys, "--plugin", "p.py"), Expected("command line", "--plugin", words))


SIGNATURES = {
    "scale": "its argument 'scale' has no type: annotate it",
    "**settings: float": "its signature has **settings: float: name each argument",
    "*scales: float": "its signature has *scales: float: name each argument",
    "name: str": "its argument 'name' cannot be set by a recipe",
    "scale: object": "its argument 'scale' has a type that YAML cannot give: <class 'object'>",
    "scale: 'Nothing'": "its signature cannot be read: NameError: name 'Nothing' is not defined",
    "scale: int = 'x'": "its argument 'scale' is typed as int, but its default is 'x'",
    "scale: float, /": "its argument 'scale' cannot be set by a recipe",
}


@pytest.mark.parametrize("arguments", SIGNATURES)
def test_a_plugin_whose_signature_breaks_the_rules(arguments: str, capsys: Captured) -> None:
    source = LOSS.replace("hierarchy: Hierarchy, scale: float = 1.0", arguments)
    put("p.py", source.replace("NAME", "mine"))
    words = ["loss 'mine' of p.py:4: ", SIGNATURES[arguments]]
    put("r.yaml", with_section("loss", "plugins: [p.py]\nloss: mine"))
    check(refused(capsys), Expected("r.yaml:2", "loss", words))
    put("r.yaml", RECIPE.replace("- tree_min", "- mine") + "plugins: [p.py]\n")
    check(refused(capsys), Expected("r.yaml:8", "loss.losses[0]", words))


# Names that are there twice.


def test_a_plugin_file_with_a_shipped_name(capsys: Captured) -> None:
    put("p.py", LOSS.replace("NAME", "focal"))
    put("r.yaml", RECIPE.replace("- {name: focal, gamma: 2}\n", "- bce\n") + "plugins: [p.py]\n")
    shipped = "hieraseg (hieraseg_plugins.losses.smp:Focal)"
    words = ["loss 'focal' is registered twice, by", shipped, "p.py:4", "another name, or remove"]
    check(refused(capsys), Expected("r.yaml:14", "plugins[0]", words))


def test_two_plugin_files_with_one_name(capsys: Captured) -> None:
    put("p.py", LOSS.replace("NAME", "mine"))
    put("q.py", "\n" + LOSS.replace("NAME", "mine"))
    words = ["loss 'mine' is registered twice, by ", "p.py:4", " and by ", "q.py:5"]
    put("r.yaml", RECIPE + "plugins:\n- p.py\n- q.py\n")
    check(
        refused(capsys),
        Expected("r.yaml:15", "plugins[0]", words),
        Expected("r.yaml:16", "plugins[1]", words),
    )


def test_a_plugin_folder_with_a_shipped_name_hurts_who_names_it(capsys: Captured) -> None:
    put("plugins/p.py", LOSS.replace("NAME", "focal"))
    put("r.yaml", RECIPE)
    shipped = "hieraseg (hieraseg_plugins.losses.smp:Focal)"
    words = ["loss 'focal' is registered twice, by", shipped, "plugins/p.py:4"]
    check(refused(capsys), Expected("r.yaml:9", "loss.losses[1]", words))
    put("r.yaml", RECIPE.replace("- {name: focal, gamma: 2}\n", "- bce\n"))
    assert main(["validate", "r.yaml"]) == 0


# All at once.


def test_all_problems_are_reported_at_once(capsys: Captured) -> None:
    put("p.py", "import not_there\n")
    put(
        "r.yaml",
        """\
        plugins: [p.py, q.py]
        hierarchy: {name: file, path: tree.yaml}
        data: {name: mannequins, size: "64", train_images: 8, train_images: 9}
        backbone: {name: resnet50, weights: nowhere.pth}
        decoder: [skip]
        loss:
          name: sum
          losses:
            - focl
            - {name: focal, gama: 1}
            - name: sum
              losses: [{name: rmi, radius: null}]
          weigths: [1, 1, 1]
        inference:
        optimizer: {name: adamw, lr: "${HIERASEG_NOT_SET}", weight_decay: "0.1"}
        training: {epochs: 0, precision: fp16}
        evaluaton: {flip: yes}
        """,
    )
    check(
        refused(capsys, "--logging.images", "-1", "--logging.imges", "1"),
        Expected("r.yaml:1", "plugins[0]", "No module named 'not_there'"),
        Expected("r.yaml:1", "plugins[1]", "no such plugin file"),
        Expected("r.yaml:1", "schedule", "missing"),
        Expected("r.yaml:2", "hierarchy.path", "no such file"),
        Expected("r.yaml:3", "data.train_images", "duplicate key"),
        Expected("r.yaml:3", "data.size", "expected a list [int, int], got '64'"),
        Expected("r.yaml:4", "backbone.weights", "no such file"),
        Expected("r.yaml:5", "decoder", "got a list"),
        Expected("r.yaml:9", "loss.losses[0]", "did you mean 'focal'?"),
        Expected("r.yaml:10", "loss.losses[1].gama", "did you mean 'gamma'?"),
        Expected("r.yaml:12", "loss.losses[2].losses[0].radius", "got null"),
        Expected("r.yaml:13", "loss.weigths", "did you mean 'weights'?"),
        Expected("r.yaml:14", "inference", "got null"),
        Expected("r.yaml:15", "optimizer.lr", "is not set"),
        Expected("r.yaml:15", "optimizer.weight_decay", "remove the quotes"),
        Expected("r.yaml:16", "training.precision", "expected one of"),
        Expected("r.yaml:16", "training.epochs", "epochs is 0"),
        Expected("r.yaml:17", "evaluaton", "did you mean 'evaluation'?"),
        Expected("command line", "logging.imges", "did you mean 'images'?"),
        Expected("command line", "logging.images", "images is -1"),
    )
