"""Class trees in YAML files."""

import re
from typing import Any

from yaml.nodes import ScalarNode

from hieraseg.errors import did_you_mean
from hieraseg.files import strict_yaml
from hieraseg.hierarchy.rules import Name, PlainTree, TreeError, check_value

_INTEGER = re.compile(r"-?[0-9]{1,20}$")


def read_yaml(text: str) -> tuple[PlainTree, dict[str, Any]]:
    """Read a class tree and the options of `Hierarchy.from_tree`.

    Raises:
        TreeError: the text is not valid YAML, or has an unknown key or a value of a wrong type.
    """
    try:
        node = strict_yaml.compose(text, strict_yaml.StringLoader)
        content = strict_yaml.plain(node, _name_or_none)
    except strict_yaml.InvalidYAMLError as error:
        raise TreeError(str(error), line=error.line) from error
    if not isinstance(content, dict) or content.get("tree") is None:
        raise TreeError("missing key `tree`; add it, with the classes below it", line=1)
    options: dict[str, Any] = {}
    for key, value in content.items():
        if key not in _READERS:
            raise TreeError(f"unknown key {key!r}, {did_you_mean(key, _READERS)}", key)
        if value is not None:
            options[str(key)] = _READERS[key](value, key)
    options.pop("source", None)
    return options.pop("tree"), options


def _name_or_none(node: ScalarNode) -> Name | None:
    if node.tag == strict_yaml.NULL:
        return None
    if node.tag != strict_yaml.STRING:
        raise ValueError(f"the tag {node.tag!r} is not supported; remove it")
    return Name(node.value, strict_yaml.line_of(node))


def _tree(value: Any, key: str) -> PlainTree:
    if not isinstance(value, dict | list):
        raise _unexpected("a mapping or a list of class names", value, key)
    return value


def _labels(value: Any, key: str) -> dict[int, str] | list[str]:
    if isinstance(value, list):
        return [_name(name, key) for name in value]
    if not isinstance(value, dict):
        raise _unexpected("a mapping of label values to names, or a list of names", value, key)
    labels: dict[int, str] = {}
    for text, name in value.items():
        label = _label(text, key)
        if label in labels:
            raise TreeError(f"duplicate label {label}; keep one", text)
        labels[label] = _name(name, text)
    return labels


def _void(value: Any, key: str) -> list[int]:
    if not isinstance(value, list):
        raise _unexpected("a list of label values", value, key)
    for text in value:
        check_value(_label(text, key), f"void {text}", text)
    return [int(text) for text in value]


def _pairs(value: Any, key: str) -> list[tuple[str, str]]:
    for pair in value if isinstance(value, list) else [value]:
        if not isinstance(pair, list) or len(pair) != 2:
            raise _unexpected("a list of pairs, as in [[left_arm, right_arm]]", pair, key)
    return [(_name(left, key), _name(right, key)) for left, right in value]


def _name(value: Any, key: str) -> Name:
    if not isinstance(value, Name):
        raise _unexpected("a name", value, key)
    return value


def _label(value: Any, key: str) -> int:
    if not isinstance(value, Name) or not _INTEGER.match(value):
        raise _unexpected("an integer label value", value, key)
    return int(value)


def _unexpected(expected: str, value: Any, key: str) -> TreeError:
    problem = f"{key}: expected {expected}, got {value!r}"
    return TreeError(problem, value if isinstance(value, Name) else key)


_READERS = {
    "source": _name,
    "tree": _tree,
    "labels": _labels,
    "void": _void,
    "background": _name,
    "pairs": _pairs,
}
