"""Templates of paths, such as `images/{split}/**/{id}.jpg`."""

import re
from functools import cached_property
from typing import NamedTuple
from unicodedata import normalize

from hieraseg.types import ArgumentError

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"),
    *(".jp2", ".avif", ".npy"),
)
"""Suffixes that a template with `.*` at its end finds, in lower case."""

_TOKEN = re.compile(r"\{[^{}]*\}|\*\*/|\*|[{}]")
_ADJACENT = re.compile(r"[}*][{*]")


class Values(NamedTuple):
    """What the parts of a template stand for in the path of a file.

    Attributes:
        split: `{split}`.
        folders: `**`, with a `/` behind each folder.
        id: `{id}`.
    """

    split: str = ""
    folders: str = ""
    id: str = ""

    @property
    def path(self) -> str:
        """The values that are not empty, joined by `/`: the id of an image."""
        below = self.folders + self.id
        return f"{self.split}/{below}" if self.split else below


class Template:
    """The paths of images or masks, relative to a root.

    `{split}`, `{id}` and `*` stand for characters within one name, `{id}` for as many as it can,
    and `**` for any number of folders. A file's last suffix may be in upper or lower case.

    Attributes:
        text: the template as it is written.
        names: the `Values` that it has.
        prefix: the folders before the first name that is not literal; empty for none.
        levels: number of folders below `prefix` that a file can lie in, or None for any number.

    Args:
        argument: `images` or `masks`, of which errors speak.
        text: the template.
        deep: whether `{id}` may have folders too, since ids are listed.

    Raises:
        ArgumentError: the template leads out of its root, or has unknown or repeated parts.
    """

    def __init__(self, argument: str, text: str, deep: bool = False) -> None:
        self.text = text
        self._deep = deep
        parts = text.split("/")
        problem = _problem(text, parts)
        if problem:
            raise ArgumentError(argument, f"{problem}, got {text!r}")
        tokens = set(_TOKEN.findall(text))
        known = {"{split}": "split", "**/": "folders", "{id}": "id"}
        self.names = tuple(name for token, name in known.items() if token in tokens)
        literal = next(i for i, part in enumerate(parts) if _TOKEN.search(part) or part == "**")
        self.prefix = "/".join(parts[:literal])
        self.levels = None if deep or "folders" in self.names else len(parts) - literal - 1

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Matches a path in NFC. All values have a group, which is empty if the text lacks it."""
        text = normalize("NFC", self.text)
        stem, _, suffix = text.rpartition(".")
        others = "".join(f"(?P<{name}>)" for name in Values._fields if name not in self.names)
        if stem and suffix == "*":
            known = "|".join(one.lstrip(".") for one in IMAGE_SUFFIXES)
            return re.compile(rf"{self._expression(stem)}\.(?i:{known}){others}")
        if stem and suffix.isalnum():
            return re.compile(rf"{self._expression(stem)}\.(?i:{suffix}){others}")
        return re.compile(self._expression(text) + others)

    def _expression(self, text: str) -> str:
        """A regular expression for a piece of the template."""
        expression, end, seen = "", 0, set[str]()
        for token in _TOKEN.finditer(text):
            expression += re.escape(text[end : token.start()])
            end, name = token.end(), token[0].strip("{}")
            if token[0] == "*":
                expression += "[^/]*?"
            elif token[0] == "**/":
                expression += "(?P<folders>(?:.+/)?)"
            elif name in seen:
                expression += f"(?P={name})"
            else:
                anything = {"split": "[^/]+?", "id": ".+" if self._deep else "[^/]+"}[name]
                expression += f"(?P<{name}>{anything})"
                seen.add(name)
        return expression + re.escape(text[end:])

    def match(self, path: str) -> Values | None:
        """The values in a path relative to the root, or None if it does not fit."""
        found = self._pattern.fullmatch(normalize("NFC", path))
        return Values._make(found.group(*Values._fields)) if found else None

    def key(self, values: Values) -> str:
        """Of the values of another template, those that this one has, as one path."""
        lacking = {name: "" for name in Values._fields if name not in self.names}
        return (values._replace(**lacking) if lacking else values).path

    def fill(self, values: Values) -> str:
        """The path with these values; a `*` stays."""
        filled = {"{split}": values.split, "{id}": values.id, "**/": values.folders}
        return _TOKEN.sub(lambda token: filled.get(token[0], token[0]), self.text)


def _problem(text: str, parts: list[str]) -> str:
    """Why a string is not a template; empty if it is one."""
    if text.startswith(("/", "~")) or "\\" in text or re.match("[A-Za-z]:", text):
        return "must be a path relative to root, with / between folders"
    if {"", ".", ".."} & set(parts):
        return "must be a path inside root, without . and .. and empty names"
    if any("**" in part and part != "**" for part in parts) or parts[-1] == "**":
        return "must have ** as the whole name of a folder, as in images/**/{id}.png"
    if parts.count("**") > 1:
        return "must have ** only once"
    tokens = _TOKEN.findall(text)
    unknown = [one for one in tokens if one not in ("{split}", "{id}", "*", "**/")]
    if unknown:
        return f"must have no braces but {{split}} and {{id}}, and has {unknown[0]}"
    if any(_ADJACENT.search(part) for part in parts if part != "**"):
        return "must have a character between two of {split}, {id} and *, to tell where one ends"
    if "{id}" not in tokens:
        return "must have {id}, as in images/{id}.png"
    return ""
