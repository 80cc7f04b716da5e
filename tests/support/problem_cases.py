"""Problems of recipes: how each is made, and what is said of it."""

import re
from typing import NamedTuple

RECIPE = """\
hierarchy: pascal_part
data: {name: mannequins, image_size: [64, 64]}
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
SCHEDULES = "choose one of constant, cosine, cosine_restarts, multistep, poly, step"
LOSS = """\
from hieraseg import Hierarchy, Loss, registry


@registry.losses.register("NAME")
class Mine(Loss):
    def __init__(self, hierarchy: Hierarchy, scale: float = 1.0) -> None:
        super().__init__()
"""


class Expected(NamedTuple):
    """One line of the answer: a place, a key, and words of the text in their order."""

    place: str
    key: str
    words: str | list[str] = ""


def without(section: str) -> str:
    """The recipe without a section."""
    return re.sub(rf"^{section}:.*\n(?: .*\n)*", "", RECIPE, flags=re.MULTILINE)


def with_section(section: str, text: str) -> str:
    """The recipe with another text for a section, which starts on line 1."""
    return f"{text}\n{without(section)}"


IN_THE_FILE: dict[str, tuple[str, Expected]] = {
    "unknown section": (
        RECIPE + "trainning: {epochs: 2}\n",
        Expected("r.yaml:14", "trainning", "unknown section, did you mean 'training'?"),
    ),
    "unknown key of a component": (
        with_section("optimizer", "optimizer:\n  name: adamw\n  weight_decai: 1"),
        Expected(
            "r.yaml:3",
            "optimizer.weight_decai",
            "optimizer 'adamw' has no such key, did you mean 'weight_decay'?",
        ),
    ),
    "unknown key of the core": (
        with_section("training", "training:\n  epochs: 1\n  batchsize: 4"),
        Expected(
            "r.yaml:3", "training.batchsize", "training has no such key, did you mean 'batch_size'?"
        ),
    ),
    "unknown component": (
        with_section("backbone", "backbone:\n  name: resnet5O"),
        Expected("r.yaml:2", "backbone", "unknown backbone 'resnet5O', did you mean 'resnet50'?"),
    ),
    "file of a tree": (
        with_section("hierarchy", "hierarchy: my/tree.YAML"),
        Expected(
            "r.yaml:1",
            "hierarchy",
            ["unknown hierarchy 'my/tree.YAML'", "write {name: file, path: my/tree.YAML}"],
        ),
    ),
    "wrong type": (
        with_section("training", "training: {seed: 1,\n  epochs: many}"),
        Expected("r.yaml:2", "training.epochs", "expected a positive int, got 'many'"),
    ),
    "float for int": (
        with_section("data", "data: {name: mannequins,\n  train_images: 8.0}"),
        Expected("r.yaml:2", "data.train_images", "expected a positive int, got 8.0"),
    ),
    "bool for number": (
        with_section("optimizer", "optimizer: {name: adamw, lr: true}"),
        Expected("r.yaml:1", "optimizer.lr", "expected a positive float, got true"),
    ),
    "string for bool": (
        with_section("evaluation", "evaluation: {flip: no}"),
        Expected("r.yaml:1", "evaluation.flip", "expected a bool, got 'no': write true or false"),
    ),
    "too short a list": (
        with_section("data", "data: {name: mannequins, image_size: [64]}"),
        Expected(
            "r.yaml:1",
            "data.image_size",
            "expected a list [int at least 32, int at least 32], got [64]",
        ),
    ),
    "scalar for list": (
        with_section("data", "data: {name: mannequins, image_size: 64}"),
        Expected(
            "r.yaml:1",
            "data.image_size",
            "expected a list [int at least 32, int at least 32], got 64",
        ),
    ),
    "choice": (
        with_section("training", "training:\n  precision: bf16-mixd"),
        Expected(
            "r.yaml:2",
            "training.precision",
            [
                "expected one of '32-true', 'bf16-mixed', '16-mixed', got 'bf16-mixd'",
                "did you mean 'bf16-mixed'?",
            ],
        ),
    ),
    "choice of numbers": (
        with_section("backbone", "backbone: {name: efficientnet_lite, variant: 3}"),
        Expected("r.yaml:1", "backbone.variant", "expected one of 0, 1, 2, got 3"),
    ),
    "range of an int": (
        with_section("training", "training:\n  epochs: 2\n  batch_size: 0"),
        Expected("r.yaml:3", "training.batch_size", "must be positive, got 0"),
    ),
    "range of a float": (
        with_section("evaluation", "evaluation: {flip: false,\n  window_overlap: 1}"),
        Expected("r.yaml:2", "evaluation.window_overlap", "must be in [0, 1), got 1"),
    ),
    "range of a list": (
        with_section("evaluation", "evaluation: {scales: [1, 0]}"),
        Expected("r.yaml:1", "evaluation.scales", "must be in (0, 16], got 0 at [1]"),
    ),
    "null": (
        with_section("optimizer", "optimizer:\n  name: adamw\n  lr:"),
        Expected("r.yaml:3", "optimizer.lr", "expected a positive float, got null"),
    ),
    "quoted number": (
        with_section("optimizer", 'optimizer:\n  name: adamw\n  lr: "1e-3"'),
        Expected(
            "r.yaml:3",
            "optimizer.lr",
            "expected a positive float, got '1e-3', which is a string: remove the quotes",
        ),
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
        Expected(
            "r.yaml:1", "hierarchy.path", ["missing; hierarchy 'file' needs it: path of the file"]
        ),
    ),
    "missing section": (
        without("schedule"),
        Expected(
            "r.yaml:1",
            "schedule",
            f"missing; {SCHEDULES}",
        ),
    ),
    "section without a name": (
        with_section("schedule", "schedule: {warmup: 0.1}"),
        Expected(
            "r.yaml:1",
            "schedule",
            f"names no component; {SCHEDULES}",
        ),
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
        Expected(
            "r.yaml:9", "loss.losses[1].gama", "loss 'focal' has no such key, did you mean 'gamma'?"
        ),
    ),
    "nested unknown component": (
        RECIPE.replace("- tree_min", "- tree_mn"),
        Expected("r.yaml:8", "loss.losses[0]", "unknown loss 'tree_mn', did you mean 'tree_min'?"),
    ),
    "nested type": (
        RECIPE.replace("gamma: 2", "gamma: [2]"),
        Expected("r.yaml:9", "loss.losses[1].gamma", "expected a non-negative float, got [2]"),
    ),
    "nested quoted number": (
        RECIPE.replace("gamma: 2", "gamma: '2'"),
        Expected(
            "r.yaml:9", "loss.losses[1].gamma", "got '2', which is a string: remove the quotes"
        ),
    ),
    "nested null": (
        RECIPE.replace("gamma: 2", "gamma: ~"),
        Expected("r.yaml:9", "loss.losses[1].gamma", "expected a non-negative float, got null"),
    ),
    "nested missing argument": (
        RECIPE.replace("- tree_min", "- name: sum"),
        Expected("r.yaml:8", "loss.losses[0].losses", "missing; loss 'sum' needs it"),
    ),
    "nested choice two levels down": (
        RECIPE.replace(
            "- tree_min",
            "- name: sum\n      losses:\n        - name: hssn\n          published: citscapes",
        ),
        Expected("r.yaml:11", "loss.losses[0].losses[0].published", "did you mean 'cityscapes'?"),
    ),
    "weights file": (
        RECIPE.replace("resnet50", "resnet50, weights: models/r50.pth"),
        Expected(
            "r.yaml:3",
            "backbone.weights",
            ["models/r50.pth: no such file or folder; set backbone.weights"],
        ),
    ),
    "hierarchy file": (
        with_section("hierarchy", "hierarchy:\n  name: file\n  path: tree.yaml"),
        Expected(
            "r.yaml:3",
            "hierarchy.path",
            "tree.yaml: no such file or folder; set hierarchy.path to an existing one",
        ),
    ),
    "plugin file": (
        RECIPE + "plugins:\n  - my_loss.py\n",
        Expected("r.yaml:15", "plugins[0]", "no such plugin file 'my_loss.py'"),
    ),
    "plugin folder for a file": (
        RECIPE + "plugins: [.]\n",
        Expected("r.yaml:14", "plugins[0]", "plugin file '.' is a folder; name a file"),
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
        Expected(
            "r.yaml:13",
            "training.seed",
            [
                "the environment variable HIERASEG_NOT_SET is not set",
                "${HIERASEG_NOT_SET:-default}",
            ],
        ),
    ),
    "variable that is malformed": (
        RECIPE.replace("seed: 3", 'seed: "${HIERASEG-NOT-SET}"'),
        Expected(
            "r.yaml:13",
            "training.seed",
            "expected ${NAME} or ${NAME:-default}, got '${HIERASEG-NOT-SET}'",
        ),
    ),
    "variable without quotes in braces": (
        RECIPE.replace("seed: 3", "seed: ${HIERASEG_NOT_SET:-3}"),
        Expected("r.yaml:13", "", ["not valid YAML", "a variable needs quotes"]),
    ),
    "variable of another type": (
        RECIPE.replace("seed: 3", 'seed: "${HIERASEG_NOT_SET:-three}"'),
        Expected("r.yaml:13", "training.seed", "expected an int in [0, 4294967296), got 'three'"),
    ),
    "nested variable that is not set": (
        RECIPE.replace("gamma: 2", 'gamma: "${HIERASEG_NOT_SET}"'),
        Expected("r.yaml:9", "loss.losses[1].gamma", "HIERASEG_NOT_SET is not set"),
    ),
    "tag of a variable": (
        RECIPE.replace("seed: 3", 'seed: !!int "${HIERASEG_NOT_SET:-3}"'),
        Expected("r.yaml:13", "training.seed", "a value with a variable cannot have the tag"),
    ),
}


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
        Expected("command line", "training.epochs", "expected a positive int, got 1.5"),
    ),
    "choice": (
        ["--training.device", "gpu"],
        Expected("command line", "training.device", "expected one of 'auto', 'cpu', 'cuda'"),
    ),
    "range": (
        ["--training.seed", "-1"],
        Expected("command line", "training.seed", "must be in [0, 4294967296), got -1"),
    ),
    "null": (
        ["--optimizer.lr", "null"],
        Expected("command line", "optimizer.lr", "expected a positive float, got null"),
    ),
    "quoted number": (
        ["--optimizer.lr", "'1'"],
        Expected("command line", "optimizer.lr", "remove the quotes"),
    ),
    "no YAML": (
        ["--data.image_size", "[64, 64"],
        Expected("command line", "data.image_size", "'[64, 64' is not valid YAML: "),
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
        Expected("command line", "backbone.weights", "/a\\u2028b': no such file or folder"),
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
    "registers nothing": ("x = 1\n", ["p.py registers no component; decorate one, as in"]),
    "registers twice": (LOSS + LOSS, ["p.py cannot be used: it registers the loss 'NAME' twice"]),
    "is no text": ("\x00", ["p.py cannot be imported: "]),
    "is empty": ("", ["p.py registers no component"]),
}


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
