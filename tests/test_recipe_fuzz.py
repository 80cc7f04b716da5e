"""Thousands of damaged recipes: each is refused at a place that exists, or runs as it says.

An oracle of its own reads a case with plain YAML events and puts base recipes and overrides
together; nothing in it comes from `hieraseg.recipe`. What `hieraseg validate` accepts must be
printed by `hieraseg show` with every value that the oracle found, and with defaults elsewhere.
`HIERASEG_FUZZ_CASES` and `HIERASEG_FUZZ_SEED` change how many cases are tried, and which.
"""

import argparse
import functools
import inspect
import io
import json
import os
import pkgutil
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import catalogue
import jaxtyping
import pytest
import yaml

import shape_checks
from hieraseg import registry
from hieraseg.cli import main
from hieraseg.contracts import SUPPLIED
from hieraseg.data.augment import Augmentation
from hieraseg.recipe import arguments, reading
from hieraseg.settings import Evaluation, Logging, Training

CASES = int(os.environ.get("HIERASEG_FUZZ_CASES", "2500"))
SEED = int(os.environ.get("HIERASEG_FUZZ_SEED", "0"))
RECIPES = Path(__file__).parents[1] / "recipes"
SHIPPED = sorted(path.relative_to(RECIPES).as_posix() for path in RECIPES.rglob("*.yaml"))

PLUGIN = '''\
"""Arguments of every type that a recipe can give, and components inside components."""
from enum import Enum
from pathlib import Path
from typing import Literal

from hieraseg import Hierarchy, Loss, registry

class Mode(Enum):
    PLAIN = 1
    FOCAL = 2

@registry.losses.register("fuzzed")
class Fuzzed(Loss):
    def __init__(self, hierarchy: Hierarchy, gamma: float, either: int | str = 1,
                 label: str | None = None, by_class: dict[str, float] = {"a": 1.0},
                 mode: Mode = Mode.PLAIN, reduction: Literal["mean", "sum"] = "mean",
                 focal: bool = False, sides: tuple[float, ...] = (1.0,), file: Path | None = None,
                 extra: Loss | None = None, rest: list[Loss] = []) -> None:
        super().__init__()
'''
PLUGIN_DEFAULTS = {
    "either": 1,
    "label": None,
    "by_class": {"a": 1.0},
    "mode": "PLAIN",
    "reduction": "mean",
    "focal": False,
    "sides": [1.0],
    "file": None,
    "extra": None,
    "rest": [],
}
WITH_COMPONENTS = {("sum", "losses"), ("fuzzed", "extra"), ("fuzzed", "rest")}
PATHS = {"root", "path", "weights", "file"}

FILES = {
    "fuzz_plugin.py": PLUGIN,
    "broken_plugin.py": "import nowhere_at_all\n",
    "empty_plugin.py": "x = 1\n",
    "weights.pth": "",
    "circle.yaml": "base: case.yaml\n",
    "empty.yaml": "# nothing\n",
    "tree.yaml": "tree: {body: {arms: [left, right]}, rest: null}\n",
    "rich.yaml": """\
plugins: [fuzz_plugin.py]
hierarchy: {name: file, path: tree.yaml}
data: {name: mannequins, size: [64, 96], train_images: 8, val_images: 4, seed: 3}
backbone: {name: resnet50, weights: weights.pth}
decoder: {name: hyperbolic, width: 8, dimensions: 16, curvature: 0.5}
loss:
  name: sum
  losses:
    - name: fuzzed
      gamma: 2
      label: "no"
      by_class: {a: 1, b: 2.5}
      extra: {name: sum, losses: [tree_min, {name: focal, gamma: 1.5}], weights: [1, .5]}
    - lovasz
    - name: logic_rules
      ramp: [0.1, 0.9]
  weights: [1, 0.5, 2e-1]
  ramps: [[0, 0], [0.1, 0.2], [0, 1]]
inference: {name: marginal}
optimizer: {name: sgd, lr: 1e-2, momentum: 0.8, nesterov: true}
schedule: {name: poly, power: 0.9, warmup: 0.1}
augmentation: {rotate: 15, crop_scale: [0.5, 1.0]}
training: {epochs: 3, batch_size: 4, precision: bf16-mixed, seed: 11, max_steps: null}
evaluation: {resolution: input, flip: yes, scales: [0.5, 1], window: [64, 64]}
logging: {tensorboard: off, images: 0}
""",
    "child.yaml": """\
base: rich.yaml
loss:
  name: fuzzed
  gamma: "${FUZZ_NUMBER}"
  label: "${FUZZ_TEXT} and ${FUZZ_NUMBER}"
  either: "${FUZZ_NUMBER}"
  mode: "${FUZZ_MISSING:-FOCAL}"
  sides: [1, "${FUZZ_NUMBER}"]
  rest: [bce, {name: tree_min, gamma: "${FUZZ_MISSING:-0.5}"}]
optimizer: {lr: "${FUZZ_MISSING:-3e-4}", momentum: 0}
training: {batch_size: "${FUZZ_NUMBER}"}
evaluation: {window: null}
""",
    "named.yaml": """\
base: quickstart
plugins: ["${FUZZ_FOLDER}/fuzz_plugin.py"]
loss: {name: sum, losses: [weighted_ce, {name: sum, losses: [{name: fuzzed, gamma: 1}]}]}
schedule: poly
backbone: {variant: 1}
training: {max_steps: 5}
""",
}
SEEDS = [*SHIPPED, "rich.yaml", "child.yaml", "named.yaml", "rich.yaml", "child.yaml"]
VARIABLES = {
    "FUZZ_NUMBER": "7",
    "FUZZ_TEXT": "some text",
    "FUZZ_EMPTY": "",
    "FUZZ_DOLLAR": "${FUZZ_NUMBER}",
    "FUZZ_LIST": "[224, 224]",
}

# The oracle: reading.

COMPONENTS = {one.section: one for one in registry.ALL}
CORE = {
    "augmentation": Augmentation,
    "training": Training,
    "evaluation": Evaluation,
    "logging": Logging,
}
FORMS = (str, str.title, str.upper)
WORDS = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **{form(word): True for word in ("yes", "true", "on") for form in FORMS},
    **{form(word): False for word in ("no", "false", "off") for form in FORMS},
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


# The oracle: composing and comparing.


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
        layers.insert(0, layer)
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
    for layer in (*layers, typed):
        for section, value in layer.items():
            if section in COMPONENTS and isinstance(value, str):
                value = {"name": value}
            below = sections.get(section)
            if isinstance(below, dict) and isinstance(value, dict):
                is_other = "name" in value and "name" in below and value["name"] != below["name"]
                value = value if is_other else {**below, **value}
            sections[section] = value
    return Said(sections, plugins)


def as_json(value: Any) -> Any:
    """A default of a signature as JSON would have it."""
    if isinstance(value, tuple | list):
        return [as_json(one) for one in value]
    return str(value) if isinstance(value, PurePath) else value


@functools.cache
def defaults_of(section: str, name: str) -> dict[str, Any]:
    """By argument; those of a component without a default and the runner's are left out."""
    if name == "fuzzed":
        return PLUGIN_DEFAULTS
    factory = CORE.get(section) or COMPONENTS[section].get(name)
    supplied = () if section in CORE else SUPPLIED[COMPONENTS[section].kind]
    if getattr(factory, "__init__", None) is object.__init__:
        return {}
    return {
        one.name: as_json(one.default)
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
    if set(shown) != {*COMPONENTS, *CORE}:
        found.append(f"sections {sorted(shown)}")
    for section in {*said.sections, *shown}:
        if section not in shown:
            found.append(f"{section}: said, but not printed")
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
            found += _of_components(inner, said[argument], rest[argument])
        elif not _is_same(said[argument], rest[argument], argument):
            found.append(f"{inner}: {said[argument]!r} was printed as {rest[argument]!r}")
    return found


def _of_components(key: str, said: Any, shown: Any) -> list[str]:
    if isinstance(said, list) and isinstance(shown, list) and len(said) == len(shown):
        pairs = enumerate(zip(said, shown, strict=True))
        return [line for index, pair in pairs for line in _of_components(f"{key}[{index}]", *pair)]
    said = {"name": said} if isinstance(said, str) else said
    if isinstance(said, dict) and isinstance(shown, dict):
        return _of_section(key, "loss", said, shown)
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


# Cases: a recipe as raw scalars, lists and pairs, so that anything can be written twice or wrongly.


class Pairs(list):
    """A mapping as a list of key and value, both as they are written."""


def raw(text: str) -> Any:
    """A recipe as it is written: each scalar with its quotes."""

    def of(node: yaml.Node) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [of(item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return Pairs([(of(key), of(value)) for key, value in node.value])
        return text[node.start_mark.index : node.end_mark.index]

    return of(yaml.compose(text, Loader=yaml.SafeLoader))


@functools.cache
def seed(source: str) -> Any:
    """A valid recipe as it is written."""
    return raw(FILES[source] if source in FILES else (RECIPES / source).read_text())


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{key}: {flow(one)}" for key, one in value) + "}"
    return f"[{', '.join(map(flow, value))}]" if isinstance(value, list) else value


def block(value: Any, rng: random.Random, indent: str = "") -> str:
    """A value on lines of its own, some of the inner ones on one line."""
    lines = []
    for item in value:
        key, inner = item if isinstance(value, Pairs) else ("-", item)
        start = f"{indent}{key}" + (":" if isinstance(value, Pairs) else "")
        if not isinstance(inner, list) or not inner or rng.random() < 0.5:
            lines.append(f"{start} {flow(inner)}".rstrip(" "))
        else:
            lines.append(f"{start}\n{block(inner, rng, indent + '  ')}")
    return "\n".join(lines)


@dataclass
class Case:
    """A recipe file's text in one of the folders, and words on the command line."""

    source: str
    doc: Pairs
    damage: list[Callable[[str], str]] = field(default_factory=list)
    overrides: list[tuple[str, str]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    text: str = ""

    @property
    def file(self) -> str:
        return str(Path(self.source).with_name("case.yaml"))


GOOD = {
    "training.epochs": ["3", '"${FUZZ_NUMBER}"', "'${FUZZ_NUMBER}'", "1_000"],
    "training.max_steps": ["null", "5", "~"],
    "training.precision": ["32-true", '"bf16-mixed"'],
    "evaluation.flip": ["yes", "off", "true", "'${FUZZ_MISSING:-on}'"],
    "evaluation.scales": ["[1]", "[.5, 1., 1e0]"],
    "evaluation.window": ["[32, 48]", "null"],
    "logging.images": ["0", "2"],
    "optimizer.lr": ["3e-4", "1", ".5", "1e400", '"${FUZZ_MISSING:-0.1}"'],
    "optimizer.backbone_lr_multiplier": ["0", "-1"],
    "schedule.warmup": ["0.5", "1E-1"],
    "augmentation.hue": ["0.1", "0"],
    "augmentation.crop_scale": ["[0.2, 1]"],
    "data.size": ["[32, 64]"],
    "data.train_images": ["4"],
    "backbone.weights": ["null", "weights.pth", "imagenet"],
    "decoder.width": ["8", "16"],
    "loss.level_weights": ["null", "[1, 2, 3]"],
    "loss.gamma": ["0", "2.5"],
    "loss": ["bce", "{name: tree_min, gamma: 1}", "{name: sum, losses: [bce, {name: focal}]}"],
    "inference": ["top_down", "{name: bottom_up}"],
    "schedule": ["cosine", "poly"],
    "optimizer": ["{name: sgd, nesterov: on}", "adamw"],
    "hierarchy": ["lip", "{name: file, path: tree.yaml}"],
}
ODD = [
    "null", "~", "", "''", '"0.1"', "'5'", "'true'", "yes", "no", "on", "off", "True", "-1", "0",
    "-0", "0.0", "1e400", "-1e400", "9" * 400, "1" * 5000, "0x10", "0o7", "010", "1:30",
    "2020-01-01", ".nan", ".inf", "-.inf", "1_000", "1e5", "1.", ".5", "+.5", "5.0", "=", "1,5",
    "3e-4", "1e-", "1.5.2", "[1, 2]", "[]", "{}", "{a: 1}", "[[1]]", "[224, '224']", "[null]",
    "[" * 30 + "]" * 30, "{a: " * 25 + "1" + "}" * 25, "[0.5, 1.0]", "text", '"a: b # c"', "é",
    '"\\u2028"', '"\\x07"', '"\\ud800"', "🙂", "\u0301", "\xa0", "# comment", "!!float 3",
    "!!int 3", "!!str 5", "!!bool yes", "!!python/name:os.system x", "!local 5", "!!set {a}",
    "&here 5", "*here", "&here [*here]", "<<", "${FUZZ_NUMBER}", '"${FUZZ_NUMBER}"',
    "${FUZZ_TEXT}", "${FUZZ_MISSING}", "${FUZZ_MISSING:-2}", "${FUZZ_EMPTY:-3}", "${FUZZ_EMPTY}",
    "${FUZZ_DOLLAR}", "${FUZZ_LIST}", "'${FUZZ_LIST}'", '"${"', '"${}"', '"${a b}"', "$NAME",
    '"$${FUZZ_NUMBER}"', '"${A:-${B}}"', '"${FUZZ_MISSING:-}"', "!!str ${FUZZ_NUMBER}",
    "!local ${FUZZ_NUMBER}", '!!int "${FUZZ_NUMBER}"', "x" * 300, "sum", "[bce]", "{name: bce}",
    "{name: bce, name: bce}", "[{name: sum, losses: [{name: bce, gama: 1}]}]",
]  # fmt: skip
BASES = [
    "nowhere.yaml", "case.yaml", "circle.yaml", "empty.yaml", ".", "..", "''", "null", "5",
    "[rich.yaml]", "{a: b}", "quickstart", "pascal_part/tree_min", "rich.yaml", "child.yaml",
    "'${FUZZ_FOLDER}/rich.yaml'", "${FUZZ_MISSING}", '"\\0"', "quickstart_ce", "fuzz_plugin.py",
]  # fmt: skip
PLUGINS = [
    "fuzz_plugin.py", "null", "[]", "{}", "5", "[5]", "[null]", "[nowhere.py]", "[.]", "['']",
    "[fuzz_plugin.py]", "[fuzz_plugin.py, fuzz_plugin.py]", "[broken_plugin.py]", "[[a.py]]",
    "[empty_plugin.py]", "[rich.yaml]", "{a: fuzz_plugin.py}", "['${FUZZ_FOLDER}/fuzz_plugin.py']",
    "[./fuzz_plugin.py]", "['\\0']", '["\\0"]', "yes",
]  # fmt: skip
WORDS_IN_WRONG_PLACES = ["gamma", "lr", "epochs", "seed", "name", "losses", "hierarchy", "plugins"]


def maps_in(value: Any) -> list[Pairs]:
    """Every mapping in a value, the outermost first."""
    if isinstance(value, Pairs):
        return [value, *(inner for _, one in value for inner in maps_in(one))]
    return [inner for one in value for inner in maps_in(one)] if isinstance(value, list) else []


def misspelt(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word)) if word else 0
    return rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at : at + 1] * 2 + word[at + 1 :],
            word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
            word.upper(),
            word + "s",
            f"{word} ",
            word.replace("_", "-"),
            f"{word}.{word}",
            f"'{word}'",
        ]
    )


def mutate(case: Case, rng: random.Random) -> str:
    """One change that people make; its name."""
    some_map = rng.choice([one for one in maps_in(case.doc) if one] or [case.doc])
    if not some_map:
        some_map.append(("loss", "bce"))
    at = rng.randrange(len(some_map))
    key, value = some_map[at]
    sections = [pair for pair in case.doc if isinstance(pair[1], Pairs)]

    def put(new: Any) -> None:
        some_map[at] = (key, new)

    def set_good(where: Pairs) -> None:
        dotted = rng.choice(list(GOOD))
        section, _, argument = dotted.partition(".")
        known = [pair for pair in where if pair[0] == section]
        new = rng.choice(GOOD[dotted])
        if argument and known and isinstance(known[0][1], Pairs):
            inner = known[0][1]
            inner[:] = [pair for pair in inner if pair[0] != argument] + [(argument, new)]
        elif argument and not known:
            where.append((section, Pairs([(argument, new)])))
        else:
            name = known[0][1] if argument and isinstance(known[0][1], str) else ""
            both = f"{{name: {name}, {argument}: {new}}}"
            where[:] = [pair for pair in where if pair[0] != section]
            where.append((section, both if argument else new))

    def move() -> None:
        some_map.pop(at)
        rng.choice(maps_in(case.doc) or [case.doc]).append((key, value))

    def override() -> None:
        section, inner = rng.choice(case.doc)
        known = [name for name, _ in inner] if isinstance(inner, Pairs) else ["name"]
        argument = rng.choice([*known, *WORDS_IN_WRONG_PLACES])
        dotted = rng.choice([f"{section}.{argument}", *GOOD])
        if rng.random() < 0.15:
            dotted = misspelt(dotted, rng).strip("' ").replace("=", "")
        if rng.random() < 0.05:
            dotted = rng.choice(["loss.", ".loss", "loss..gamma", "loss.losses[0].gamma", "é.é"])
        case.overrides.append((dotted, rng.choice(GOOD.get(dotted, ODD) if rng.random() < 0.5
                                                  else ODD)))  # fmt: skip

    def damage() -> None:
        where, kind = rng.random(), rng.choice(list(DAMAGE))
        case.damage.append(lambda text: DAMAGE[kind](text, int(where * len(text))))
        case.done.append(kind)

    def first(name: str, choices: list[str]) -> None:
        others = [pair for pair in case.doc if pair[0] != name]
        case.doc[:] = [(name, rng.choice(choices)), *others]

    def other_name() -> str:
        names = COMPONENTS[key if key in COMPONENTS else "loss"].names()
        return rng.choice([rng.choice(names), misspelt(rng.choice(names), rng)])

    def in_section(new: Any) -> None:
        rng.choice(sections or [("", Pairs())])[1].append(new)

    changes: dict[str, Callable[[], Any]] = {
        "good value": lambda: set_good(case.doc),
        "good values": lambda: [set_good(case.doc) for _ in range(3)],
        "other order": lambda: rng.shuffle(some_map),
        "misspelt key": lambda: some_map.__setitem__(at, (misspelt(key, rng), value)),
        "duplicated key": lambda: some_map.insert(rng.randrange(len(some_map) + 1),
                                                  (key, rng.choice([value, "1", "bce"]))),
        "dropped key": lambda: some_map.pop(at),
        "moved key": move,
        "odd value": lambda: put(rng.choice(ODD)),
        "quoted": lambda: put(f"'{value}'" if isinstance(value, str) else "'x'"),
        "list for value": lambda: put([value]),
        "value for list": lambda: put(value[0] if isinstance(value, list) and value else value),
        "mapping for value": lambda: put(Pairs([(key, value)])),
        "section for mapping": lambda: put([value, value]),
        "null": lambda: put(rng.choice(["null", "", "~"])),
        "odd key": lambda: some_map.__setitem__(at, (rng.choice(ODD) or "?", value)),
        "unknown section": lambda: case.doc.insert(0, (rng.choice(["los", "modell", "1", "name"]),
                                                       value)),
        "unknown key": lambda: in_section((rng.choice(WORDS_IN_WRONG_PLACES), rng.choice(ODD))),
        "merge key": lambda: some_map.append(("<<", Pairs([("gamma", "1")]))),
        "anchor": lambda: (put(f"&it {flow(value)}"), in_section(("seed", "*it"))),
        "other component": lambda: put(other_name()),
        "renamed": lambda: in_section(("name", "bce")),
        "base": lambda: first("base", BASES),
        "plugins": lambda: first("plugins", PLUGINS),
        "override": override,
        "overrides": lambda: [override() for _ in range(3)],
        "damage": damage,
    }  # fmt: skip
    kind = rng.choice([*changes, "good value", "good value", "damage"])
    changes[kind]()
    return kind


def _on_line(text: str, at: int, change: Callable[[str], str]) -> str:
    lines = text.split("\n")
    index = text.count("\n", 0, at)
    lines[index] = change(lines[index])
    return "\n".join(lines)


def _without(text: str, at: int, characters: str) -> str:
    found = [index for index in range(len(text)) if text[index] in characters]
    index = found[at % len(found)] if found else len(text)
    return text[:index] + text[index + 1 :]


DAMAGE: dict[str, Callable[[str, int], str]] = {
    "indented": lambda text, at: _on_line(text, at, lambda line: f" {line}"),
    "outdented": lambda text, at: _on_line(text, at, lambda line: line.removeprefix(" ")),
    "tab": lambda text, at: _on_line(text, at, lambda line: f"\t{line}"),
    "line twice": lambda text, at: _on_line(text, at, lambda line: f"{line}\n{line}"),
    "line lost": lambda text, at: _on_line(text, at, lambda line: ""),
    "lines joined": lambda text, at: _without(text, at, "\n"),
    "colon lost": lambda text, at: _without(text, at, ":"),
    "comma lost": lambda text, at: _without(text, at, ","),
    "bracket lost": lambda text, at: _without(text, at, "[]{}"),
    "blank lost": lambda text, at: _without(text, at, " "),
    "colon": lambda text, at: f"{text[:at]}: {text[at:]}",
    "quote": lambda text, at: f'{text[:at]}"{text[at:]}',
    "apostrophe": lambda text, at: f"{text[:at]}'{text[at:]}",
    "bracket": lambda text, at: f"{text[:at]}[{text[at:]}",
    "dash": lambda text, at: f"{text[:at]}\n- {text[at:]}",
    "comment": lambda text, at: f"{text[:at]} # {text[at:]}",
    "control": lambda text, at: f"{text[:at]}\x07{text[at:]}",
    "null byte": lambda text, at: f"{text[:at]}\x00{text[at:]}",
    "no-break space": lambda text, at: f"{text[:at]}\xa0{text[at:]}",
    "line separator": lambda text, at: f"{text[:at]}\u2028{text[at:]}",
    "next line": lambda text, at: f"{text[:at]}\x85{text[at:]}",
    "smart quote": lambda text, at: f"{text[:at]}“{text[at:]}",
    "surrogate": lambda text, at: f"{text[:at]}\udcff{text[at:]}",
    "document": lambda text, at: _on_line(text, at, lambda line: f"---\n{line}"),
    "directive": lambda text, at: f"%YAML 1.2\n---\n{text}",
    "truncated": lambda text, at: text[:at],
    "Windows": lambda text, at: "\ufeff" + text.replace("\n", "\r\n"),
    "old Mac": lambda text, at: text.replace("\n", "\r"),
    "variable": lambda text, at: f"{text[:at]}${{FUZZ_NUMBER}}{text[at:]}",
    "dollar": lambda text, at: f"{text[:at]}${{{text[at:]}",
    "star": lambda text, at: f"{text[:at]}*{text[at:]}",
    "question": lambda text, at: _on_line(text, at, lambda line: f"? {line}"),
    "pipe": lambda text, at: _on_line(text, at, lambda line: line.replace(": ", ": |", 1)),
}


def case_of(number: int) -> Case:
    """The case of a number, always the same."""
    rng = random.Random(f"{SEED}/{number}")
    source = rng.choice(SEEDS)
    case = Case(source, deepcopy(seed(source)))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        case.done.append(mutate(case, rng))
    text = block(case.doc, rng) + "\n"
    for damage in case.damage:
        text = damage(text)
    case.text = text
    return case


# Trying a case.


class Outcome(NamedTuple):
    """Whether a case was accepted, and what is wrong with the answer."""

    is_accepted: bool
    complaints: list[str]


def hieraseg(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, as bytes could be written."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    out.seek(0)
    err.seek(0)
    return code, out.read(), err.read()


OF_A_FILE = (
    "not valid YAML: ",
    "the recipe is empty",
    "a recipe is a mapping of sections, got ",
    "is not a UTF-8 text file",
)
MISTAKE = re.compile(r"(?:command line|(?P<file>.+?):(?P<line>\d+)): (?P<said>.+)")


def misplaced(line: str) -> str:
    """Why a line is no mistake at a place that exists; else empty."""
    found = MISTAKE.fullmatch(line)
    if found is None:
        return f"no place: {line!r}"
    if found["file"]:
        file = Path(found["file"])
        if not file.is_file():
            return f"no such file: {line!r}"
        lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", file.read_bytes().decode(errors="replace"))
        if not 1 <= int(found["line"]) <= len(lines):
            return f"no such line: {line!r}"
    if found["file"] and found["said"].startswith(OF_A_FILE):
        return ""
    key, colon, text = found["said"].partition(": ")
    return "" if key.strip() and colon and text.strip() else f"no key: {line!r}"


def try_case(case: Case, runs: bool = False) -> Outcome:
    """Validate a case, and show it if it is right.

    Args:
        case: to try.
        runs: also give it to `hieraseg run`, where training is replaced by a note.
    """
    path = Path(case.file)
    path.write_bytes(case.text.encode("utf-8", "surrogateescape"))
    given = []
    for key, text in case.overrides:
        is_one_word = len(text) % 2 and ("." in key or key in COMPONENTS)
        given += [f"--{key}={text}"] if is_one_word else [f"--{key}", text]
    try:
        return _tried(path, case.overrides, given, runs)
    except Exception as error:
        return Outcome(False, [f"{type(error).__name__}: {error}"])


def _tried(path: Path, overrides: list[tuple[str, str]], given: list[str], runs: bool) -> Outcome:
    code, out, err = hieraseg("validate", str(path), *given)
    if code == 2:
        if not out and err.startswith("usage: ") and "error: unknown option" in err:
            is_usage = any("." not in key and key not in COMPONENTS for key, _ in overrides)
            return Outcome(False, [] if is_usage else [f"usage: {err!r}"])
        complaints = [wrong for line in out.splitlines() if (wrong := misplaced(line))]
        if not out or err:
            complaints.append(f"stdout {out!r}, stderr {err!r}")
        if len(set(out.splitlines())) != len(out.splitlines()):
            complaints.append(f"said twice: {out!r}")
        if runs:
            run_code, run_out, _ = hieraseg("run", str(path), "--out", "runs", *given)
            if run_code != 2 or run_out or Path("runs").exists():
                complaints.append(f"refused, but `run` answers {run_code}: {run_out!r}")
        return Outcome(False, complaints)
    if code != 0:
        return Outcome(False, [f"exit code {code}"])
    complaints = []
    if not out.startswith(f"{path}: ok") or err or len(out.splitlines()) != 1:
        complaints.append(f"stdout {out!r}, stderr {err!r}")
    code, shown, err = hieraseg("show", "--json", str(path), *given)
    if code or err:
        return Outcome(True, [f"`show --json` answers {code}: {err!r}"])
    try:
        complaints += differences(said_by(path, overrides), json.loads(shown))
    except RefusalDueError as reason:
        complaints.append(f"accepted in spite of {reason}")
    code, printed, err = hieraseg("show", str(path), *given)
    copy = Path("printed", "copy.yaml")
    copy.write_text(printed, encoding="utf-8", newline="")
    if hieraseg("show", "--json", str(copy)) != (0, shown, ""):
        complaints.append(f"what is printed is read as another recipe: {printed!r}")
    if runs:
        code, ran, err = hieraseg("run", str(path), "--out", "runs", *given)
        if "no such data folder" in err:
            if code != 3:
                complaints.append(f"no data, but `run` answers {code}")
        elif ran != shown:
            complaints.append(f"`run` trains {ran!r} with exit code {code}: {err!r}")
    return Outcome(True, complaints)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with all files, where nothing trains and what is pure is kept."""
    import hieraseg.train

    shutil.copytree(RECIPES, tmp_path, dirs_exist_ok=True)
    for name, text in FILES.items():
        for place in (tmp_path, tmp_path / "pascal_part"):
            (place / name).write_text(text)
    (tmp_path / "printed").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FUZZ_FOLDER", str(tmp_path))
    monkeypatch.delenv("FUZZ_MISSING", raising=False)

    def train(recipe: Any, *_: Any) -> None:
        print(json.dumps(recipe.to_dict(), indent=2))

    monkeypatch.setattr(hieraseg.train, "train", train)

    # Thousands of cases in a minute: entry points and unchanged values are read once.
    groups = [f"hieraseg_{kind}" for kind in registry.BY_KIND]
    points = {group: list(entry_points(group=group)) for group in groups}
    monkeypatch.setattr(catalogue, "AVAILABLE_ENTRY_POINTS", points)
    monkeypatch.setattr(registry, "_listing_at", functools.cache(registry._listing_at))
    unkept = arguments.Argument.read
    kept: dict[Any, Any] = {}

    def kept_read(self: arguments.Argument, value: Any) -> Any:
        key = (id(self), _exactly(value))
        if key not in kept:
            kept[key] = (self, unkept(self, value))
        return kept[key][1]

    monkeypatch.setattr(arguments.Argument, "read", kept_read)
    monkeypatch.setattr(reading, "_compose", functools.lru_cache(maxsize=64)(reading._compose))
    # Without the checks of shapes, which take half the time, and argparse's translations.
    monkeypatch.setattr(shape_checks, "checked", lambda function: function)
    monkeypatch.setattr(argparse, "_", str)
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield tmp_path
    jaxtyping.config.update("jaxtyping_disable", before)


def _exactly(value: Any) -> Any:
    if isinstance(value, list):
        return (list, *map(_exactly, value))
    if isinstance(value, dict):
        return (dict, *((_exactly(key), _exactly(one)) for key, one in value.items()))
    return type(value), repr(value)


def report(number: int, case: Case, outcome: Outcome) -> str:
    return (
        f"case {number} of {case.source} ({', '.join(case.done)}), overrides {case.overrides}:\n"
        + "\n".join(f"  {line}" for line in outcome.complaints)
        + f"\n--- {case.file}\n{case.text}"
    )


def test_the_recipes_run_as_they_say_before_they_are_damaged(folder: Path) -> None:
    for source in dict.fromkeys(SEEDS):
        case = Case(source, seed(source))
        case.text = block(case.doc, random.Random(0))
        outcome = try_case(case, runs=True)
        assert outcome == (True, []), report(-1, case, outcome)


def test_a_damaged_recipe_is_refused_at_its_place_or_runs_as_it_says(folder: Path) -> None:
    wrong, accepted, refused = [], 0, 0
    for number in range(CASES):
        case = case_of(number)
        outcome = try_case(case, runs=number % 10 == 0)
        accepted += outcome.is_accepted
        refused += not outcome.is_accepted
        if outcome.complaints:
            wrong.append(report(number, case, outcome))
    shares = f"{accepted / CASES:.0%} accepted, {refused / CASES:.0%} refused"
    print(shares, file=sys.stderr)
    assert not wrong, f"{len(wrong)} cases; the first:\n\n" + "\n\n".join(wrong[:5])
    assert accepted >= 0.1 * CASES, shares
    assert refused >= 0.3 * CASES, shares


def spoil_note(words: str) -> Callable[[Any], Any]:
    """A checker that does not note what these words are part of."""

    def spoiled(real: Any) -> Any:
        def note(self: Any, place: Any, key: str, text: str) -> None:
            if words not in text:
                real(self, place, key, text)

        return note

    return spoiled


def spoil_convert(real: Any) -> Any:
    """Quoted numbers are taken for numbers."""
    return lambda value, *rest: real(
        reading.unquoted(value) if isinstance(value, str) else value, *rest
    )


SABOTAGE: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "unknown keys pass": (
        "hieraseg.recipe.checking.Checker.note",
        spoil_note("has no such key"),
        "said, but not printed",
    ),
    "unknown sections pass": (
        "hieraseg.recipe.checking.Checker.note",
        spoil_note("unknown section"),
        "said, but not printed",
    ),
    "duplicate keys pass": (
        "hieraseg.recipe.reading._Reader._note",
        spoil_note("stands twice"),
        "accepted in spite of the key",
    ),
    "quoted numbers pass": ("hieraseg.recipe.arguments.convert", spoil_convert, "was printed as"),
    "keys of another component stay": (
        "hieraseg.recipe.composing._merge_section",
        lambda real: (
            lambda below, above: (
                above._replace(value={**below.value, **above.value})
                if isinstance(below.value, dict) and isinstance(above.value, dict)
                else above
            )
        ),
        "neither said nor the default",
    ),
    "overrides are lost": (
        "hieraseg.recipe.composing.override_layer",
        lambda real: lambda overrides: ({}, []),
        "was printed as",
    ),
    "variables are changed": (
        "hieraseg.recipe.reading.filled",
        lambda real: lambda text: real(text).upper(),
        "was printed as",
    ),
    "texts are printed without quotes": (
        "hieraseg.recipe.resolved.inline",
        lambda real: str,
        "is read as another recipe",
    ),
    "another recipe is trained": (
        "hieraseg.recipe.resolved.Recipe.with_seed",
        lambda real: lambda self, seed: real(self, seed + 1),
        "`run` trains",
    ),
    "lines are wrong": (
        "hieraseg.recipe.reading.Place.__str__",
        lambda real: lambda self: f"{self.source}:{self.line + 500}",
        "no such line",
    ),
    "files are wrong": (
        "hieraseg.recipe.reading.Place.__str__",
        lambda real: lambda self: f"recipe:{self.line}",
        "no such file",
    ),
    "an exception escapes": (
        "hieraseg.recipe.checking.did_you_mean",
        lambda real: None,
        "TypeError",
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_oracle_catches_a_sabotaged_checker(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, spoil, complaint = SABOTAGE[name]
    monkeypatch.setattr(target, spoil(pkgutil.resolve_name(target)))
    complaints = (
        line for number in range(400) for line in try_case(case_of(number), runs=True).complaints
    )
    assert any(complaint in line for line in complaints)
