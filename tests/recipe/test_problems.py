"""Problems of a recipe, through `validate` and `run`: exit code, place, key and words of each.

`run` must refuse what `validate` refuses, and leave no run folder. The checks of single lines are
tested in detail in `test_checking` and `test_nested`.
"""

from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.recipe.checking import sections
from tests.support.problem_cases import (
    IN_THE_FILE,
    RECIPE,
    TYPED,
    Expected,
    with_section,
    without,
)
from tests.support.problems import (
    Captured,
    check,
    put,
    refused,
)

pytestmark = pytest.mark.usefixtures("empty_folder")


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


@pytest.mark.parametrize("section", sections())
def test_each_section_refuses_unknown_keys(section: str, capsys: Captured) -> None:
    put("r.yaml", RECIPE)
    override = [f"--{section}.zzz", "1"]
    if section == "model":  # which the recipe does not have
        override += ["--model", "{name: coarse_to_fine, backbone: {name: resnet50}}"]
    expected = Expected("command line", f"{section}.zzz", "has no ")
    if section == "trackers":  # a list, which has no keys
        expected = Expected("command line", section, "expected a list of trackers")
    check(refused(capsys, *override), expected)


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
    root = Path("nowhere/data").absolute()
    said = f"r.yaml:3: data.root: {root}: no such data folder; set data.root to an existing one"
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
        Expected("command line", "training.epochs", "must be positive, got 0"),
    )
