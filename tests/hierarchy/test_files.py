"""Class trees from text, pairs and files: equal to those from nested names, or one clear error."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hieraseg import Hierarchy, registry
from hieraseg.errors import RecipeError
from hieraseg.recipe import ComponentSpec
from hieraseg.recipe.build import build
from tests.support.trees import Tree, leaf_paths, nested_trees


def same(one: Hierarchy, other: Hierarchy) -> bool:
    """Whether two hierarchies are equal."""
    return (
        one.level_names == other.level_names
        and torch.equal(one.paths, other.paths)
        and all(map(torch.equal, one.parents, other.parents))
        and all(map(torch.equal, one.mirrored, other.mirrored))
        and torch.equal(one.mirrored_labels, other.mirrored_labels)
        and (one.labels, one.void, one.background, one.pairs)
        == (other.labels, other.void, other.background, other.pairs)
    )


def as_text(tree: Tree, indent: str, above: str = "") -> str:
    return "".join(
        f"{above}{name}\n{as_text(children or {}, indent, above + indent)}"
        for name, children in tree.items()
    )


def as_pairs(tree: Tree, parent: str | None = None) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = []
    for name, children in tree.items():
        pairs += [(name, parent), *as_pairs(children or {}, name)]
    return pairs


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@given(nested_trees(), st.sampled_from(["  ", "\t", "   \t"]))
def test_indented_text_of_random_trees(tree: Tree, indent: str) -> None:
    expected = Hierarchy.from_tree(tree, void=[255])
    assert same(Hierarchy.from_text(as_text(tree, indent), void=[255]), expected)
    commented = as_text(tree, indent).replace("\n", "  # a comment\r\n\r\n   # deeper\r\n")
    assert same(Hierarchy.from_text(commented, void=[255]), expected)


@given(nested_trees(), st.booleans())
def test_pairs_of_random_trees(tree: Tree, reverse: bool) -> None:
    pairs = as_pairs(tree)[:: -1 if reverse else 1]
    labels = [path[-1] for path in leaf_paths(tree)]
    hierarchy = Hierarchy.from_pairs(pairs, labels=labels)
    expected = Hierarchy.from_tree(tree, labels=labels)
    assert hierarchy.level_names[-1] == expected.level_names[-1]
    assert as_sets(hierarchy.tree) == as_sets(expected.tree)
    if not reverse:
        assert same(hierarchy, expected)


def as_sets(tree: Tree) -> Any:
    return frozenset((name, as_sets(below) if below else None) for name, below in tree.items())


@given(nested_trees())
def test_files_of_random_trees(tmp_path_factory: pytest.TempPathFactory, tree: Tree) -> None:
    folder = tmp_path_factory.mktemp("tree")
    names = [path[-1] for path in leaf_paths(tree)]
    labels = dict(zip(range(300, 0, -3), names, strict=False))
    settings = {"labels": labels, "void": [0, 256], "background": names[-1]}
    document = {"source": "nowhere", "tree": tree, **settings}
    expected = Hierarchy.from_tree(tree, **settings)
    for text in (yaml.dump(document, sort_keys=False), str(document).replace("None", "null")):
        assert same(Hierarchy.from_file(written(folder, "tree.yaml", text)), expected)
    plain = Hierarchy.from_tree(tree)
    assert same(Hierarchy.from_file(written(folder, "tree.txt", as_text(tree, " "))), plain)
    for ending, delimiter in ((".csv", ","), (".tsv", "\t")):
        for heading in ([], [("child", "parent")]):
            rows = io.StringIO()
            csv.writer(rows, delimiter=delimiter).writerows([*heading, *as_pairs(tree)])
            path = written(folder, f"tree{ending}", rows.getvalue())
            assert same(Hierarchy.from_file(path), plain)
    again = Hierarchy.from_tree(expected.tree, **settings)
    assert same(again, expected)


def test_a_yaml_file_with_all_keys(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "tree.yml",
        """\
\ufeffsource: by hand
tree:
  background:
  body:
    - head
    - left arm: [left hand]
    - right arm: [right hand]
labels:
  0: background
  010: head
  2: left hand
  3: right hand
void: [255]
background: background
pairs:
  - [left arm, right arm]
  - [left hand, right hand]
""",
    )
    hierarchy = Hierarchy.from_file(str(path))
    assert hierarchy.tree == {
        "background": None,
        "body": {
            "head": None,
            "left arm": {"left hand": None},
            "right arm": {"right hand": None},
        },
    }
    assert hierarchy.labels == {0: "background", 2: "left hand", 3: "right hand", 10: "head"}
    assert (hierarchy.void, hierarchy.background) == ((255,), "background")
    assert hierarchy.mirrored_labels.tolist() == [0, 1, 3, 2, *range(4, 11)]
    for name in (hierarchy.level_names[2][0], hierarchy.labels[2], hierarchy.pairs[0][0]):
        assert type(name) is str, "no `Name` is kept"


def test_yaml_scalars_are_read_as_names(tmp_path: Path) -> None:
    names = ["yes", "off", "010", "1e3", "1:30", "2020-01-01", "3", "=", "traffic light", "null"]
    text = "tree: [" + ", ".join(names[:-1]) + ', "null"]\nlabels: {1: 3, 2: off, 4: null }'
    hierarchy = Hierarchy.from_file(
        written(tmp_path, "tree.yaml", text.replace("4: null", "4: 'null'"))
    )
    assert sorted(hierarchy.level_names[0]) == sorted(names)
    assert hierarchy.labels == {1: "3", 2: "off", 4: "null"}


def test_empty_keys_are_ignored(tmp_path: Path) -> None:
    text = "tree: [a, b]\nlabels:\nvoid:\nbackground:\npairs:\nsource:\n"
    hierarchy = Hierarchy.from_file(written(tmp_path, "tree.yaml", text))
    assert same(hierarchy, Hierarchy.from_tree(["a", "b"]))


# Errors.


def message_of(caught: pytest.ExceptionInfo[ValueError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("# nothing\n", ["empty"]),
        ("a\n  b\n c\n", ["line 3", "'c'", "indentation matches no line above"]),
        ("  a\nb\n", ["line 2", "'b'", "indentation matches no line above"]),
        ("a\n  b\n\tc\n", ["line 3", "'c'"]),
        ("a\n  b\n\nc\n  b  # again\n", ["line 5", "duplicate class 'b' (first on line 2)"]),
        ("a\n  a\n", ["line 2", "duplicate class 'a' (first on line 1)"]),
    ],
)
def test_errors_in_text(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        Hierarchy.from_text(text)
    message = message_of(caught)
    assert all(word in message for word in words), message
    path = written(tmp_path, "tree.txt", text)
    with pytest.raises(ValueError) as caught:
        Hierarchy.from_file(path)
    place = message.split(":")[0].replace("line ", "") if message.startswith("line") else ""
    assert message_of(caught).startswith(f"{path}:{place}: ".replace("::", ":"))


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], ["empty"]),
        ([("a", None), ("a", "b"), ("b", None)], ["duplicate class 'a'", "none and 'b'"]),
        ([("a", None), ("b", None), ("c", "a"), ("c", "b")], ["'c'", "'a' and 'b'"]),
        ([("a", None), ("a", None)], ["duplicate class 'a'"]),
        ([("a", None), ("c", "b")], ["'b', the parent of 'c', is missing"]),
        ([("a", "a")], ["cycle: a > a"]),
        ([("a", None), ("d", "b"), ("b", "c"), ("c", "b")], ["cycle: b > c > b"]),
        ([("a",)], ["a child and its parent", "('a',)"]),
        (["ab"], ["a child and its parent", "'ab'"]),
        ([("", None)], ["a child and its parent"]),
    ],
)
def test_errors_in_pairs(pairs: list[Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        Hierarchy.from_pairs(pairs)
    message = message_of(caught)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("child,parent\na,\nb,a\nb,\n", 4, ["duplicate class 'b'", "'a' and none"]),
        ("a\n\nb,c\n", 3, ["'c', the parent of 'b'"]),
        ("a,\nb,c\nc,b\n", 2, ["cycle: b > c > b"]),
        ("a,\nb,a,x\n", 2, ["'b,a,x'"]),
        ("a,\n,a\n", 2, ["',a'"]),
        ('a,\n"b,a\n', 2, ["not valid CSV"]),
        ("Child,Parent\na,\nb,c\n", 3, ["'c', the parent of 'b'"]),
        ("a;\nb;a\n", 1, ["expected ',' between", "'a;'"]),
    ],
)
def test_errors_in_csv(text: str, line: int, words: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, "tree.csv", text)
    with pytest.raises(ValueError) as caught:
        Hierarchy.from_file(path)
    message = message_of(caught)
    assert message.startswith(f"{path}:{line}: ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, ["`tree`"]),
        ("- a\n", 1, ["`tree`"]),
        ("labels: [a]\n", 1, ["`tree`"]),
        ("tree:\n", 1, ["`tree`"]),
        ("tree: []\n", 0, ["empty"]),
        ("tree: 5\n", 1, ["tree", "a mapping or a list", "'5'"]),
        ("tree:\n  a:\n  b: c\n", 3, ["b", "a mapping or a list", "'c'"]),
        ("tree:\n  a:\n  b: {}\n", 3, ["b is empty", "null"]),
        ("tree:\n  a:\n    - b: []\n", 3, ["a > b is empty", "null"]),
        ("tree: [a]\nlabel: [a]\n", 2, ["'label'", "did you mean 'labels'?"]),
        ("tree:\n  a:\n  b:\n  a:\n", 4, ["duplicate key 'a' (first on line 2)"]),
        ("tree:\n  a: [x]\n  b:\n  - x\n", 4, ["duplicate class 'x' (first on line 2)"]),
        ("tree: [a]\ntree: [b]\n", 2, ["duplicate key 'tree' (first on line 1)"]),
        ("tree: [a]\nlabels:\n  1: a\n  1: a\n", 4, ["duplicate key '1' (first on line 3)"]),
        ("tree: [a]\nlabels:\n  1: a\n  01: a\n", 4, ["duplicate label 1"]),
        ("tree: [a]\nlabels:\n  x: a\n", 3, ["an integer", "'x'"]),
        ("tree: [a]\nlabels:\n  1.0: a\n", 3, ["an integer", "'1.0'"]),
        ("tree: [a]\nlabels:\n  -1: a\n", 3, ["label -1 (a)", "in [0, 65535]"]),
        ("tree: [a]\nlabels:\n  7: b\n", 3, ["label 7", "'b'", "known: a"]),
        ("tree: [a]\nlabels:\n  7:\n", 3, ["7", "a name", "None"]),
        ("tree: [a]\nlabels:\n  7: [a]\n", 3, ["7", "a name", "['a']"]),
        ("tree: [a]\nlabels: a\n", 2, ["labels", "'a'"]),
        ("tree: [a]\nlabels: [a]\nvoid: 255\n", 3, ["void", "a list", "'255'"]),
        ("tree: [a]\nlabels:\n  65536: a\n", 3, ["label 65536 (a)", "in [0, 65535]"]),
        ("tree: [a]\nvoid: [255,\n 70000]\n", 3, ["void 70000", "in [0, 65535]"]),
        ("tree: [a]\nvoid: [-1]\n", 2, ["void -1", "in [0, 65535]"]),
        (f"tree: [a]\nvoid: [{'9' * 5000}]\n", 2, ["void", "an integer"]),
        ("tree: [a]\nvoid: [x]\n", 2, ["void", "an integer", "'x'"]),
        ("tree: [a]\nlabels:\n  7: a\nvoid: [7]\n", 3, ["label 7", "both void and 'a'"]),
        ("tree: [a]\nbackground: b\n", 2, ["background: 'b' is not a leaf"]),
        ("tree: [a]\nbackground: [a]\n", 2, ["background", "a name"]),
        ("tree: [a, b]\npairs: [a, b]\n", 2, ["pairs", "[[left_arm, right_arm]]", "'a'"]),
        ("tree: [a, b]\npairs:\n- [a, b]\n- [a, b]\n", 4, ["'a' is in two pairs"]),
        ("tree: {a: [l], b: [r]}\npairs:\n- [l, r]\n", 3, ["'a > l'", "'a > r'"]),
        ("tree: [a, b\n", 2, ["not valid YAML"]),
        ("tree: &x [a]\nlabels: *x\n", 2, ["not valid YAML", "aliases"]),
        ("tree: &x [*x]\n", 1, ["not valid YAML", "aliases"]),
        ("tree:\n- !!python/name:os.system a\n", 2, ["tag"]),
        ("tree:\n- !!int 5\n", 2, ["the tag 'tag:yaml.org,2002:int' is not supported"]),
        ("tree:\n- a\n- ? [b]\n  : c\n", 3, ["a key must be a string or a number, got a list"]),
        ("tree: [a, '\x07']\n", 1, ["not valid YAML"]),
        ("tree: " + 5_000 * "[", 1, ["not valid YAML", "nested too deeply"]),
        ("tree:\n  a:\n  '':\n", 3, ["a class name", "''"]),
        ("tree:\n  a:\n  b:\n  - [c]\n", 3, ["a class name", "['c']"]),
        ("tree: [a, b]\npairs:\n- [a, a]\n", 3, ["pairs", "two different classes", "('a', 'a')"]),
        ("tree: [a]\n---\ntree: [b]\n", 2, ["not valid YAML"]),
    ],
)
def test_errors_in_yaml(text: str, line: int, words: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, "tree.yaml", text)
    with pytest.raises(ValueError) as caught:
        Hierarchy.from_file(path)
    message = message_of(caught)
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: "), message
    assert all(word in message for word in words), message


def test_a_deep_yaml_file(tmp_path: Path) -> None:
    depth = 90
    text = "tree: " + "".join(f"{{c{i}: " for i in range(depth)) + depth * "}"
    hierarchy = Hierarchy.from_file(written(tmp_path, "tree.yaml", text))
    assert hierarchy.num_classes == [1] * depth


def test_tens_of_thousands_of_classes() -> None:
    assert Hierarchy.from_pairs([(f"c{i}", None) for i in range(60_000)]).num_classes == [60_000]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for name, words in {
        "missing.yaml": "no such hierarchy file",
        "folder.yaml": "cannot be read",
        "latin.txt": "UTF-8",
        "tree.json": "expected .yaml, .yml, .txt, .csv or .tsv",
    }.items():
        with pytest.raises(ValueError) as caught:
            Hierarchy.from_file(tmp_path / name)
        message = message_of(caught)
        assert message.startswith(f"{tmp_path / name}: ")
        assert words in message


# The plugin.


def test_a_recipe_with_a_hierarchy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, "tree.txt", "a\nb\n  c\n  d\n")
    hierarchy = registry.hierarchies.get("file")(path=Path("tree.txt"))
    assert hierarchy.num_classes == [2, 3]
    component = ComponentSpec(
        "hierarchy", "file", {"path": Path("tree.txt")}, registry.hierarchies.get("file")
    )
    assert same(build(component), hierarchy)
    path.write_text("a\na\n")
    with pytest.raises(RecipeError, match=r"hierarchy: file: tree.txt:2: duplicate class 'a'"):
        build(component)
