"""Cases: a recipe as raw scalars, lists and pairs, so that anything can stand twice or wrongly."""

import functools
import os
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.fuzz_oracle import COMPONENTS
from tests.support.fuzz_recipes import FILES, RECIPES, SEEDS

SEED = int(os.environ.get("HIERASEG_FUZZ_SEED", "0"))


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
    "evaluation.flip": ["True", "FALSE", "true", "'${FUZZ_MISSING:-true}'"],
    "evaluation.scales": ["[1]", "[.5, 1., 1e0]"],
    "evaluation.window": ["[32, 48]", "null"],
    "logging.images": ["0", "2"],
    "optimizer.lr": ["3e-4", "1", ".5", "1e400", '"${FUZZ_MISSING:-0.1}"'],
    "optimizer.backbone_lr_multiplier": ["0", "-1"],
    "schedule.warmup": ["0.5", "1E-1"],
    "augmentation.transforms": ["[blur]", "[{name: photometric, hue: 0.1}, blur]", "[]"],
    "augmentation.scale": ["[0.5, 2]"],
    "input.size": ["[32, 64]"],
    "input.resize": ["shorter", "none"],
    "augmentation.crop_scale": ["[0.2, 1]"],
    "data.image_size": ["[32, 64]"],
    "data.train_images": ["4"],
    "backbone.weights": ["null", "weights.pth", "imagenet"],
    "decoder.width": ["8", "16"],
    "model": ["{name: coarse_to_fine, backbone: resnet50}"],
    "model.width": ["8", "0"],
    "model.backbone": ["resnet50", "{name: efficientnet_lite, variant: 2}", "fpn"],
    "auxiliary.stage": ["2", "null"],
    "loss.level_weights": ["null", "[1, 2, 3]"],
    "loss.gamma": ["0", "2.5"],
    "loss": ["bce", "{name: tree_min, gamma: 1}", "{name: sum, losses: [bce, {name: focal}]}"],
    "inference": ["top_down", "{name: bottom_up}"],
    "schedule": ["cosine", "poly"],
    "optimizer": ["{name: sgd, nesterov: true}", "adamw"],
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
