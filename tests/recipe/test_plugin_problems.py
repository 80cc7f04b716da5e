"""Problems of plugin files, through `validate` and `run`, and all kinds of problems at once."""

import pytest

from hieraseg.cli import main
from tests.support.problem_cases import (
    BROKEN,
    LOSS,
    RECIPE,
    SIGNATURES,
    Expected,
    with_section,
)
from tests.support.problems import (
    Captured,
    check,
    put,
    refused,
)

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_file(name: str, capsys: Captured) -> None:
    text, words = BROKEN[name]
    put("p.py", text)
    put("r.yaml", RECIPE + "plugins:\n- p.py\n")
    check(refused(capsys), Expected("r.yaml:15", "plugins[0]", words))
    put("r.yaml", RECIPE)
    check(refused(capsys, "--plugin", "p.py"), Expected("command line", "--plugin", words))


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
    shipped = "hieraseg (hieraseg_plugins.losses.focal:Focal)"
    words = ["duplicate loss 'focal': registered by", shipped, "p.py:4", "rename or remove"]
    check(refused(capsys), Expected("r.yaml:14", "plugins[0]", words))


def test_two_plugin_files_with_one_name(capsys: Captured) -> None:
    put("p.py", LOSS.replace("NAME", "mine"))
    put("q.py", "\n" + LOSS.replace("NAME", "mine"))
    words = ["duplicate loss 'mine': registered by ", "p.py:4", " and by ", "q.py:5"]
    put("r.yaml", RECIPE + "plugins:\n- p.py\n- q.py\n")
    check(
        refused(capsys),
        Expected("r.yaml:15", "plugins[0]", words),
        Expected("r.yaml:16", "plugins[1]", words),
    )


def test_a_plugin_folder_with_a_shipped_name_hurts_who_names_it(capsys: Captured) -> None:
    put("plugins/p.py", LOSS.replace("NAME", "focal"))
    put("r.yaml", RECIPE)
    shipped = "hieraseg (hieraseg_plugins.losses.focal:Focal)"
    words = ["duplicate loss 'focal': registered by", shipped, "plugins/p.py:4"]
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
        data: {name: mannequins, image_size: "64", train_images: 8, train_images: 9}
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
        Expected("r.yaml:3", "data.image_size", ["expected a list [int at least 32", "got '64'"]),
        Expected("r.yaml:4", "backbone.weights", "no such file"),
        Expected("r.yaml:5", "decoder", "got a list"),
        Expected("r.yaml:9", "loss.losses[0]", "did you mean 'focal'?"),
        Expected("r.yaml:10", "loss.losses[1].gama", "did you mean 'gamma'?"),
        Expected("r.yaml:12", "loss.losses[2].losses[0].radius", "got null"),
        Expected("r.yaml:13", "loss.weigths", "did you mean 'weights'?"),
        Expected("r.yaml:14", "inference", "got null"),
        Expected("r.yaml:15", "optimizer.lr", "is not set"),
        Expected("r.yaml:15", "optimizer.weight_decay", "remove the quotes"),
        Expected("r.yaml:16", "training.epochs", "must be positive, got 0"),
        Expected("r.yaml:16", "training.precision", "expected one of"),
        Expected("r.yaml:17", "evaluaton", "did you mean 'evaluation'?"),
        Expected("command line", "logging.imges", "did you mean 'images'?"),
        Expected("command line", "logging.images", "must be non-negative, got -1"),
    )
