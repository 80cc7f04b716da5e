"""The data set of a recipe: its code and arguments, by which stores are known, and its errors."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from hieraseg import Hierarchy
from hieraseg.errors import DataError, RecipeError
from hieraseg.recipe import Recipe, load
from hieraseg.recipe.dataset import build_dataset, data_digest
from hieraseg.registry.sources import source_digest
from hieraseg_plugins.hierarchies.pascal_part import pascal_part
from tests.support.oracle import write_oracle_recipe

TREE = Hierarchy.from_tree(["a", "b"])
DATA = """
import os
from pathlib import Path
from hieraseg import registry


@registry.datasets.register("own")
class Own:
    splits = ("train", "val")

    def __init__(self, number: int = 1, file: Path | None = None) -> None:
        BODY

    def ids(self, split): ...
    def image(self, id): ...
    def mask(self, id): ...
    def fingerprint(self, split): ...
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a package `lab`: `data` imports `reading`, and `others` is not imported."""
    folder = tmp_path / "lab"
    folder.mkdir()
    sources = {
        "__init__": "",
        "base": "class Base: ...",
        "reading": "from . import deep",
        "deep": "x = 1",
        "others": "y = 1",
        "data": "from lab.base import Base\nfrom .reading import deep\nclass Own(Base): ...",
    }
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in sources:
        monkeypatch.delitem(sys.modules, f"lab.{name}", raising=False)
    monkeypatch.delitem(sys.modules, "lab", raising=False)
    return folder


@pytest.mark.parametrize("changed", ["data", "base", "reading", "deep"])
def test_a_package_is_known_by_all_that_a_component_imports(package: Path, changed: str) -> None:
    def digest() -> str:
        """As a new process has it."""
        for name in [one for one in sys.modules if one.partition(".")[0] == "lab"]:
            del sys.modules[name]
        importlib.import_module("lab.others")
        return source_digest(importlib.import_module("lab.data").Own)

    before = digest()
    (package / "others.py").write_text("y = 2")
    assert digest() == before
    path = package / f"{changed}.py"
    path.write_text(path.read_text() + "\n# changed")
    assert digest() != before


def test_shipped_data_sets_are_known_by_their_modules() -> None:
    from hieraseg_plugins.datasets import mannequin_art
    from hieraseg_plugins.datasets.mannequins import Mannequins
    from hieraseg_plugins.datasets.pascal_part import PascalPart

    class Derived(PascalPart):
        pass

    digests = {source_digest(one) for one in (Mannequins, PascalPart, Derived, mannequin_art.Paint)}
    assert len(digests) == 4
    assert source_digest(print) == source_digest(dict), "no source"


def test_digest_of_a_recipe(tmp_path: Path) -> None:
    def digest(changes: str = "") -> str:
        found = digest_of(load(write_oracle_recipe(tmp_path, changes)))
        assert isinstance(found, str)
        return found

    base = digest()
    assert digest() == base
    changes = ("data: {images: 6}\n", "data: {shown: 2}\n", "data: mannequins\n")
    assert len({base, *map(digest, changes)}) == 4


def digest_of(recipe: Recipe) -> str | list[str]:
    return data_digest(recipe, build_dataset(recipe, pascal_part()))


def test_members_of_joined_data_sets_have_the_digests_of_their_own(tmp_path: Path) -> None:
    def digest(changes: str) -> str | list[str]:
        return digest_of(load(write_oracle_recipe(tmp_path, f"data: {{{changes}}}")))

    one, other = "name: rectangles, images: 6", "name: rectangles, shown: 2"
    joined = digest(f"name: concat, datasets: [{{{one}}}, {{{other}}}]")
    assert joined == [digest(one), digest(other)]
    weighted = digest(f"name: concat, datasets: [{{{one}}}, {{{other}}}], weights: [1, 2]")
    assert weighted == joined


JOINING = """
from collections.abc import Sequence
from hieraseg import Dataset, registry


class Cropped:
    def __init__(self, dataset):
        self.splits, self.ids, self.image = dataset.splits, dataset.ids, dataset.image
        self.mask, self.fingerprint = dataset.mask, dataset.fingerprint


@registry.datasets.register("joining")
class Joining(Cropped):
    def __init__(self, datasets: Sequence[Dataset], margin: int = 1) -> None:
        super().__init__(datasets[0])
        self.datasets = [Cropped(one) for one in datasets]
"""


def test_members_that_were_changed_are_known_by_the_code_that_did_so(tmp_path: Path) -> None:
    (tmp_path / "joining.py").write_text(JOINING)

    def digest(margin: int) -> str | list[str]:
        changes = (
            "plugins: [joining.py]\n"
            f"data: {{name: joining, datasets: [{{name: rectangles}}], margin: {margin}}}\n"
        )
        return digest_of(load(write_oracle_recipe(tmp_path, changes)))

    first, second = digest(1), digest(2)
    assert isinstance(first, list)
    assert len(first) == 1
    assert first != second
    assert first[0] != digest_of(load(write_oracle_recipe(tmp_path)))


def own_recipe(folder: Path, body: str = "pass", arguments: str = "") -> Recipe:
    (folder / "own.py").write_text(DATA.replace("BODY", body))
    changes = f"plugins: [own.py]\ndata: {{name: own{arguments}}}\n"
    return load(write_oracle_recipe(folder, changes))


def test_files_in_arguments_count_by_their_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    for path in (one, other):
        path.write_text("a list")

    def digest(path: Path) -> str:
        found = digest_of(own_recipe(tmp_path, arguments=f", file: {path}"))
        assert isinstance(found, str)
        return found

    assert digest(one) == digest(other), "the copy in a run folder is the same file"
    before = digest(one)
    one.write_text("another list")
    assert digest(one) != before
    assert len({digest(tmp_path), digest(tmp_path.parent), before}) == 3


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (
            'raise KeyError("root")',
            DataError,
            r"data: own cannot be opened \(.*own\.py:\d+\): KeyE",
        ),
        ("raise SystemExit(1)", DataError, r"data: own cannot be opened \(.*own\.py:\d+\): System"),
        ('raise ValueError("bad number")', RecipeError, r"data: own: bad number"),
        ('self.splits = ("a/b",)', DataError, r"data: Own\.splits is \('a/b',\)"),
    ],
)
def test_errors_of_building(tmp_path: Path, body: str, error: Any, words: str) -> None:
    recipe = own_recipe(tmp_path, body)
    with pytest.raises(error) as caught:
        build_dataset(recipe, TREE)
    assert re.search(words, str(caught.value))
    assert "\n" not in str(caught.value)
