"""Keys of a recipe that are keywords of Python, such as `from`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD

from hieraseg import registry
from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.recipe import Recipe, load
from hieraseg.recipe.build import build
from hieraseg.recipe.keywords import by_parameter, key_of
from hieraseg.types import ArgumentError, PositiveInt, check_arguments


@registry.optimizers.register("borrowed")
@check_arguments
def borrowed(
    parameters: dict[str, Any], from_: Path | None = None, lambda_: PositiveInt = 1
) -> SGD:
    """An optimizer that keeps what it gets.

    Args:
        parameters: the parameters.
        from_: a file.
        lambda_: a number.
    """
    if lambda_ == 13:
        raise ArgumentError("lambda_", "must not be 13")
    optimizer = SGD([torch.zeros(1)])
    optimizer.defaults = {"from": from_, "lambda": lambda_}
    return optimizer


def read(folder: Path, section: str, *overrides: tuple[str, str]) -> Recipe:
    path = folder / "r.yaml"
    path.write_text(f"base: quickstart\noptimizer: {section}\n")
    return load(path, overrides)


def test_names() -> None:
    assert [key_of(name) for name in ("from_", "lr", "lr_", "_")] == ["from", "lr", "lr_", "_"]
    assert by_parameter({"from": 1, "lr": 2}) == {"from_": 1, "lr": 2}


def test_the_key_has_no_underscore(tmp_path: Path) -> None:
    recipe = read(tmp_path, "{name: borrowed, from: w.pth, lambda: 3}")
    built = build(recipe["optimizer"], parameters={})
    assert built.defaults == {"from": tmp_path / "w.pth", "lambda": 3}
    shown = recipe.to_dict()["optimizer"]
    assert shown == {"name": "borrowed", "from": f"{tmp_path}/w.pth", "lambda": 3}
    assert f"  lambda: 3  # {tmp_path}/r.yaml:2\n" in recipe.to_yaml(origins=True)
    again = tmp_path / "again.yaml"
    again.write_text(recipe.to_yaml())
    assert load(again) == recipe
    assert read(tmp_path, "borrowed", ("optimizer.lambda", "4"))["optimizer"].arguments == {
        "from": None,
        "lambda": 4,
    }


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{name: borrowed, from_: w}", "optimizer.from_: optimizer 'borrowed' has no such key, "),
        ("{name: borrowed, lambda: 0}", "optimizer.lambda: must be positive, got 0"),
    ],
)
def test_problems_name_the_key(tmp_path: Path, section: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        read(tmp_path, section)
    assert str(error.value).startswith(f"{tmp_path}/r.yaml:2: {message}")


def test_what_a_component_refuses_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        build(read(tmp_path, "{name: borrowed, lambda: 13}")["optimizer"], parameters={})
    place = f"{tmp_path}/r.yaml:2: optimizer.lambda"
    assert str(error.value) == f"{place}: borrowed: must not be 13"


def test_the_section_init(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("base: quickstart\ninit: {from: ../w.pth, drop: [head]}\n")
    assert load(path).init.from_ == tmp_path.parent / "w.pth"
    assert main(["show", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["init"]
    assert shown == {"from": f"{tmp_path.parent}/w.pth", "strict": True, "drop": ["head"]}
    assert main(["list", "init", "from", "--json"]) == 0
    (described,) = json.loads(capsys.readouterr().out)["arguments"]
    assert (described["name"], described["type"]) == ("from", "path or null")
    path.write_text("base: quickstart\ninit: {form: w.pth}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:2: init\.form: .*did you mean 'from'\?"):
        load(path)
