"""What a recipe says, read with nothing of `hieraseg.recipe`, and held against what is shown."""

import functools
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import yaml

from hieraseg import registry
from hieraseg.settings import (
    Augmentation,
    Auxiliary,
    Checkpoints,
    Evaluation,
    Init,
    Input,
    Logging,
    Training,
    Validation,
)
from tests.support.fuzz_recipes import PATHS, PLUGIN_DEFAULTS, RECIPES, WITH_COMPONENTS

# Reading.

SECTIONS = registry.by_section()
COMPONENTS = registry.by_singular()
CORE = {
    "input": Input,
    "augmentation": Augmentation,
    "auxiliary": Auxiliary,
    "init": Init,
    "training": Training,
    "validation": Validation,
    "evaluation": Evaluation,
    "checkpoints": Checkpoints,
    "logging": Logging,
}
LISTS = {"trackers": ("tracker", ["tensorboard"])}  # kind and default of sections that are lists
REPLACES = {"model": ("backbone", "decoder"), "backbone": ("model",), "decoder": ("model",)}
FORMS = (str, str.title, str.upper)
WORDS = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **{form(word): True for word in ("true",) for form in FORMS},
    **{form(word): False for word in ("false",) for form in FORMS},
    **{sign + form("inf"): float(sign.strip(".") + "inf")
       for sign in (".", "+.", "-.") for form in FORMS},
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
}  # fmt: skip


class RefusalDueError(Exception):
    """A recipe that no reader may accept."""


class Filled(str):
    """A quoted text with variables in it: the text, or what it means without the quotes."""


def meaning(text: str) -> Any:
    """What an unquoted scalar means to a recipe: no octals, sexagesimals or dates."""
    if text in WORDS:
        return WORDS[text]
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isascii() or not digits.lstrip(".")[:1].isdigit() or digits.startswith(".."):
        return text
    mantissa, mark, exponent = digits.lower().partition("e")
    plain = mantissa.replace("_", "")
    if "_" in exponent or (mark and not exponent.lstrip("+-").isdigit()):
        return text
    if plain.isdigit() and not mark:
        is_octal = len(mantissa) > 1 and mantissa[0] == "0"
        return text if is_octal else int(text.replace("_", ""))
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return text


def with_variables(text: str) -> str:
    """A text with `${NAME}` and `${NAME:-default}` filled in, one after the other."""
    out, rest = "", text
    while "${" in rest:
        before, _, rest = rest.partition("${")
        inside, closed, rest = rest.partition("}")
        name, has_default, default = inside.partition(":-")
        if not closed or not re.fullmatch("[A-Za-z_][A-Za-z_0-9]*", name) or "{" in default:
            raise RefusalDueError(f"malformed variable in {text!r}")
        value = os.environ.get(name)
        if has_default and not value:
            value = default
        if value is None or "${" in value:
            raise RefusalDueError(f"no value for {name}")
        out += before + value
    return out + rest


def read(text: str) -> Any:
    """The value of a YAML text; a missing document is `...`."""
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise RefusalDueError(f"no YAML: {error}") from error
    if sum(isinstance(event, yaml.DocumentStartEvent) for event in events) > 1:
        raise RefusalDueError("two documents")
    stream = (
        event
        for event in events
        if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent)
    )
    return _value(next(stream), stream)


def _value(event: Any, stream: Iterator[Any]) -> Any:
    if isinstance(event, yaml.StreamEndEvent):
        return ...
    if isinstance(event, yaml.AliasEvent):
        raise RefusalDueError("an alias")
    tag = (event.tag or "").removeprefix("tag:yaml.org,2002:")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event, tag)
    if tag not in ("", "!", "seq" if isinstance(event, yaml.SequenceStartEvent) else "map"):
        raise RefusalDueError(f"the tag {tag}")
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(stream), yaml.SequenceEndEvent):
            items.append(_value(event, stream))
        return items
    pairs: list[tuple[Any, Any]] = []
    while not isinstance(event := next(stream), yaml.MappingEndEvent):
        if not isinstance(event, yaml.ScalarEvent):
            raise RefusalDueError("a key that is no scalar")
        key = _scalar(event, (event.tag or "").removeprefix("tag:yaml.org,2002:"), is_key=True)
        if key is None or any(key == other for other, _ in pairs):
            raise RefusalDueError(f"the key {key!r}")
        pairs.append((key, _value(next(stream), stream)))
    return dict(pairs)


def _scalar(event: Any, tag: str, is_key: bool = False) -> Any:
    text: str = event.value
    is_plain = event.style is None and tag in ("", "!!")
    if is_plain and text == "<<":
        raise RefusalDueError("a merge key")
    if tag not in ("", "!", "str", "int", "float", "bool", "null"):
        raise RefusalDueError(f"the tag {tag}")
    if "${" in text and not is_key:
        if tag not in ("", "!", "str"):
            raise RefusalDueError(f"the tag {tag} of a variable")
        filled = with_variables(text)
        return meaning(filled) if is_plain else Filled(filled)
    try:
        if tag in ("int", "float"):
            number = meaning(text)
            return number if text.startswith("0") else {"int": int, "float": float}[tag](number)
        return meaning(text) if is_plain or tag in ("bool", "null") else text
    except ValueError as error:
        raise RefusalDueError(str(error)) from error


# Composing and comparing.


class Said(NamedTuple):
    """What a recipe says, its base recipes and overrides included."""

    sections: dict[str, Any]
    plugins: set[str]


def said_by(path: Path, overrides: list[tuple[str, str]]) -> Said:
    """What `hieraseg run` has to do for a recipe."""
    layers: list[dict[str, Any]] = []
    plugins: set[str] = set()
    seen: set[Path] = set()
    next_file: Path | None = path
    while next_file is not None:
        file, next_file = next_file.resolve(), None
        if file in seen or not file.is_file():
            raise RefusalDueError(f"the base {file}")
        seen.add(file)
        try:
            layer = read(file.read_bytes().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise RefusalDueError("no UTF-8") from error
        if not isinstance(layer, dict):
            raise RefusalDueError("no mapping")
        if "base" in layer:
            base = layer.pop("base")
            if not isinstance(base, str):
                raise RefusalDueError("a base that is no text")
            next_file = file.parent / base
            if not next_file.is_file():
                next_file = RECIPES / f"{base}.yaml"
        if "plugins" in layer:
            named = layer.pop("plugins")
            if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
                raise RefusalDueError("plugins that are no list of texts")
            plugins |= {str((file.parent / one).resolve()) for one in named}
        layers.insert(0, placed(layer, file.parent))
    typed: dict[str, Any] = {}
    for key, text in sorted(overrides, key=lambda one: "." in one[0]):
        value = read(text)
        section, dot, argument = key.partition(".")
        value = None if value is ... else value
        if not dot:
            typed[section] = value
        else:
            if isinstance(typed.get(section), str):
                typed[section] = {"name": typed[section]}
            if not isinstance(typed.setdefault(section, {}), dict):
                raise RefusalDueError(f"{section} is no section")
            typed[section] = {**typed[section], argument: value}
    sections: dict[str, Any] = {}
    for layer in (*layers, placed(typed, Path.cwd())):
        if "model" in layer and {"backbone", "decoder"} & layer.keys():
            raise RefusalDueError("a model beside what it replaces")
        for section, value in layer.items():
            if section in SECTIONS and isinstance(value, str):
                value = {"name": value}
            if isinstance(value, dict) and "name" in value:
                for other in REPLACES.get(section, ()):
                    sections.pop(other, None)
            below = sections.get(section)
            if isinstance(below, dict) and isinstance(value, dict):
                is_other = "name" in value and "name" in below and value["name"] != below["name"]
                value = value if is_other else {**below, **value}
            sections[section] = value
    return Said(sections, plugins)


def placed(value: Any, folder: Path, key: str = "") -> Any:
    """What a layer in a folder says, with absolute paths."""
    if isinstance(value, dict):
        return {name: placed(one, folder, str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [placed(one, folder, key) for one in value]
    if not isinstance(value, str) or key not in PATHS or value == "imagenet":
        return value
    return type(value)(os.path.normpath(folder / os.path.expanduser(value)))


def as_json(value: Any) -> Any:
    """A default of a signature as JSON would have it."""
    return [as_json(one) for one in value] if isinstance(value, tuple | list) else value


@functools.cache
def defaults_of(section: str, name: str) -> dict[str, Any]:
    """By argument; those of a component without a default and the runner's are left out."""
    if name == "fuzzed":
        return PLUGIN_DEFAULTS
    factory = CORE.get(section) or COMPONENTS[section].get(name)
    supplied = () if section in CORE else COMPONENTS[section].kind.supplied
    if getattr(factory, "__init__", None) is object.__init__:
        return {}
    return {
        one.name.removesuffix("_"): as_json(one.default)
        for one in inspect.signature(factory).parameters.values()
        if one.default is not one.empty and one.name not in supplied
    }


def differences(said: Said, shown: dict[str, Any]) -> list[str]:
    """What is printed otherwise than said, or is neither said nor a default."""
    found = []
    shown = dict(shown)
    plugins = {str(Path(one).resolve()) for one in shown.pop("plugins", [])}
    if plugins != said.plugins:
        found.append(f"plugins: {said.plugins} was printed as {plugins}")
    if set(shown) not in ({*SECTIONS, *CORE} - {*REPLACES[one]} for one in ("model", "decoder")):
        found.append(f"sections {sorted(shown)}")
    for section in {*said.sections, *shown}:
        if section not in shown:
            found.append(f"{section}: said, but not printed")
            continue
        if section in LISTS:
            kind, default = LISTS[section]
            settings = said.sections.get(section, default)
            found += _of_components(section, kind, settings, shown[section])
            continue
        settings = said.sections.get(section, {})
        if not isinstance(settings, dict):
            found.append(f"{section}: {settings!r} is no section")
            continue
        found += _of_section(section, section, settings, shown[section])
    return found


def _of_section(key: str, section: str, said: dict[str, Any], shown: dict[str, Any]) -> list[str]:
    found = []
    name = shown.get("name", "")
    rest = dict(shown)
    if section in COMPONENTS:
        rest.pop("name", None)
        if not _is_same(said.get("name"), name, "name"):
            found.append(f"{key}.name: {said.get('name')!r} was printed as {name!r}")
            return found
    defaults = defaults_of(section, name)
    if section == "data" and name in ("pascal_part", "folder") and said.get("root") is None:
        said = {**said, "root": str(Path("data", said.get("dataset", name)).absolute())}
    for argument in {*said, *rest} - ({"name"} if section in COMPONENTS else set()):
        inner = f"{key}.{argument}"
        if argument not in rest:
            found.append(f"{inner}: said, but not printed")
        elif argument not in said:
            if argument not in defaults or not _is_same(
                defaults[argument], rest[argument], argument
            ):
                found.append(f"{inner}: {rest[argument]!r} is neither said nor the default")
        elif (name, argument) in WITH_COMPONENTS and said[argument] is not None:
            inner_section = WITH_COMPONENTS[name, argument]
            found += _of_components(inner, inner_section, said[argument], rest[argument])
        elif not _is_same(said[argument], rest[argument], argument):
            found.append(f"{inner}: {said[argument]!r} was printed as {rest[argument]!r}")
    return found


def _of_components(key: str, section: str, said: Any, shown: Any) -> list[str]:
    if isinstance(said, list) and isinstance(shown, list) and len(said) == len(shown):
        pairs = enumerate(zip(said, shown, strict=True))
        return [
            line
            for index, pair in pairs
            for line in _of_components(f"{key}[{index}]", section, *pair)
        ]
    said = {"name": said} if isinstance(said, str) else said
    if isinstance(said, dict) and isinstance(shown, dict):
        return _of_section(key, section, said, shown)
    return [f"{key}: {said!r} was printed as {shown!r}"]


def _is_same(said: Any, shown: Any, argument: str) -> bool:
    if isinstance(said, Filled):
        without_quotes = meaning(str(said))
        return _is_same(str(said), shown, argument) or (
            not isinstance(without_quotes, str) and _is_same(without_quotes, shown, argument)
        )
    if isinstance(said, list):
        return (
            isinstance(shown, list)
            and len(said) == len(shown)
            and all(_is_same(one, other, argument) for one, other in zip(said, shown, strict=True))
        )
    if isinstance(said, dict):
        return (
            isinstance(shown, dict)
            and list(said) == list(shown)
            and all(_is_same(said[key], shown[key], argument) for key in said)
        )
    if type(said) is int and type(shown) is float:
        return float(said) == shown
    if isinstance(said, str) and isinstance(shown, str) and argument in PATHS:
        return PurePath(said) == PurePath(shown)
    return type(said) is type(shown) and (said == shown or (said != said and shown != shown))
