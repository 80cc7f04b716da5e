"""Names of runs: what the command line changes in a recipe, as in `epochs=3,lr=1e-3`."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from yaml.nodes import ScalarNode

from hieraseg.files import strict_yaml
from hieraseg.runs.identity import is_setting

_LONGEST_NAME, _LONGEST_VALUE = 80, 32  # bytes
_SAFE = re.compile(r"[\w.+-]+")


def run_name(
    overrides: Sequence[tuple[str, str]], recipe: Mapping[str, Any], swept: Collection[str] = ()
) -> str:
    """Name of a run: its overrides, or `base` if there are none.

    Different overrides have different names. A key is as short as it can be without meaning
    another key of the recipe. What is too long, or not safe in a path, ends in `~` and a hash.

    Args:
        overrides: overrides of the command line.
        recipe: the resolved recipe, as `Recipe.to_dict` gives it.
        swept: keys that the name has although they do not change what is trained, since other runs
            have other values of them.
    """
    given = {
        key: value
        for dotted, text in overrides
        for key, value in _leaves(dotted.removesuffix(".name"), _read(text))
        if key in swept or is_setting(key)
    }
    keys = [key for section, value in recipe.items() for key, _ in _leaves(section, value)]
    counts = Counter(suffix for key in {*keys, *given} for suffix in _suffixes(key))
    words = []
    for key, value in given.items():
        short = next((one for one in _suffixes(key) if counts[one] == 1), key)
        words.append(f"{short}={_shown(value)}")
    return _joined(words, repr(sorted(given.items()))) or "base"


def _read(text: str) -> Any:
    """The value of an override. Numbers stay as they were written: `1e-3`."""

    def as_written(node: ScalarNode) -> str:
        is_string = node.tag.endswith(":str")
        looks_like_one = isinstance(strict_yaml.unquoted(node.value), str)
        return node.value if is_string == looks_like_one else repr(node.value)

    return strict_yaml.plain(strict_yaml.compose(text), as_written)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values below a dotted key. The name of a component is the value of its section."""
    if not isinstance(value, Mapping) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(key if name == "name" else f"{key}.{name}", inner)


def _suffixes(key: str) -> Iterator[str]:
    """The last part of a dotted key, its last two parts, ..., the whole key."""
    parts = key.split(".")
    for start in range(len(parts) - 1, -1, -1):
        yield ".".join(parts[start:])


def _shown(value: Any) -> str:
    if isinstance(value, list) and all(map(_is_safe, value)):
        text = ",".join(value)
        if value and len(text.encode()) <= _LONGEST_VALUE:
            return text
    if _is_safe(value):
        return str(value)
    readable = PurePath(value).name if isinstance(value, str) else str(value)
    readable = re.sub(r"[^A-Za-z0-9_.+-]+", "_", readable)[: _LONGEST_VALUE - 8].strip("_")
    return f"{readable}~{_hash(repr(value))}"


def _is_safe(value: Any) -> bool:
    """Whether a value can be part of a path as it is."""
    is_word = isinstance(value, str) and _SAFE.fullmatch(value) is not None
    return is_word and len(value.encode()) <= _LONGEST_VALUE


def _joined(words: list[str], everything: str) -> str:
    """The first words, and the number and hash of those for which there is no room."""
    name = ",".join(words)
    count = len(words)
    while len(name.encode()) > _LONGEST_NAME and count:
        count -= 1
        rest = f"{len(words) - count}more~{_hash(everything)}"
        name = ",".join([*words[:count], rest])
    return name


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:6]
