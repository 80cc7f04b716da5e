"""What README and docs show is what the code does."""

import doctest
import re
from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.recipe.shipped import shipped_recipes
from hieraseg.registry import all_kinds

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
FRAMEWORK = ROOT / "framework" / "hieraseg"
IMPORTS = """\
import json
from pathlib import Path
import torch
import torch.nn.functional as F
from hieraseg import IGNORE_INDEX, Loss, registry
from hieraseg.functional import mean_over_valid
from hieraseg.types import PositiveInt, Probability, check_arguments
from lightning_fabric.loggers import CSVLogger


"""


@pytest.mark.parametrize("path", [*DOCS, ROOT / "README.md"], ids=lambda path: path.name)
def test_lines_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [
        number for number, line in enumerate(lines, 1) if len(line) > 120 and "|" not in line
    ]


@pytest.mark.parametrize("path", [*DOCS, ROOT / "README.md"], ids=lambda path: path.name)
def test_recipes_of_commands_are_there(path: Path) -> None:
    shipped = shipped_recipes()
    words = re.findall(
        r"hieraseg (?:run|bench|data|show|validate) ([a-z][\w./]+)",
        path.read_text(encoding="utf-8"),
    )
    found = {word for word in words if not word.startswith(("runs/", "my_"))}
    assert not {word for word in found if word not in shipped and not (ROOT / word).is_file()}


def test_every_room_is_described() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = [path for path in FRAMEWORK.iterdir() if path.is_dir() and path.name != "__pycache__"]
    rooms += [path for path in FRAMEWORK.glob("*.py") if not path.name.startswith("__")]
    for room in rooms:
        assert re.search(rf"`{room.stem}(/|\.py)?`", text), f"{room.name} is not described"


def test_every_kind_is_described() -> None:
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    for kind in all_kinds():
        assert f"`{kind.name}`, section `{kind.section}`" in text
        for argument in kind.supplied:
            assert f"`{argument}`" in text


@pytest.mark.parametrize(
    ("index", "kind", "name"),
    [
        (0, "loss", "largest_ce"),
        (1, "loss", "leaf_ce"),
        (2, "transform", "grayscale"),
        (3, "tracker", "news"),
        (4, "tracker", "fabric_csv"),
    ],
)
def test_the_plugins_of_extending(
    index: int, kind: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    (tmp_path / f"{name}.py").write_text(IMPORTS + blocks[index])
    words = ["check", kind, name, "--plugin", str(tmp_path / f"{name}.py")]
    assert main(words) == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert ("it says that it cannot: selects pixels" in printed) == (name == "largest_ce")


@pytest.mark.parametrize("path", [path for path in DOCS if ">>>" in path.read_text()], ids=str)
def test_examples_in_documents(path: Path) -> None:
    found = doctest.testfile(str(path), module_relative=False)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_plugin_of_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(block.splitlines()) < 20
    file = tmp_path / "leaf_only.py"
    file.write_text(block)
    plugin = ["--plugin", str(file)]
    assert main(["check", "loss", "leaf_only", *plugin]) == 0, capsys.readouterr().out
    words = ["--data.image_size", "[64, 64]", "--input.size", "[64, 64]"]
    words += ["--data.train_images", "4", "--data.val_images", "2"]
    words += ["--backbone.weights", "null", "--training.batch_size", "2", "--loss", "leaf_only"]
    assert main(["validate", "quickstart", "--build", *plugin, *words]) == 0
    assert "quickstart: ok; one step on the CPU" in capsys.readouterr().out
