"""`hieraseg list`: what a recipe can name."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from hieraseg.cli.parsing import add_command, add_json, add_plugins, given_plugins
from hieraseg.hierarchy.files import ENDINGS
from hieraseg.registry import by_name, find_registry
from hieraseg.registry.files import broken_files


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "list",
        run,
        summary="list the components that a recipe can name",
        description="""
            List what a recipe can name: all kinds of components, those of one kind, or all about
            one component: what it is, its arguments, and a section to paste into a recipe. Of a
            hierarchy, or a file of one, the class tree is drawn with its labels. What is broken
            is listed with its reason. `recipes` lists the recipes that are installed.
        """,
        examples="""
            hieraseg list
            hieraseg list losses
            hieraseg list inference --json
            hieraseg list hierarchies pascal_part
            hieraseg list hierarchies my_tree.yaml
            hieraseg list losses my_loss --plugin my_loss.py
            hieraseg list recipes
        """,
    )
    parser.add_argument("kind", metavar="KIND", nargs="?", help="as in losses, or loss; or recipes")
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="one component of that kind, or a hierarchy's file"
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print a table of kinds, a table of one kind, or a component's description."""
    if arguments.kind == "recipes":
        return _recipes(arguments.json)
    with given_plugins(arguments):
        return _kinds(arguments.json) if arguments.kind is None else _kind(arguments)


def _kind(arguments: Namespace) -> int:
    registry = find_registry(arguments.kind)
    # Descriptions need the components themselves, and so torch.
    from hieraseg.cli import describe, tree

    name = arguments.name
    if name is None:
        return _components(describe.summaries(registry), arguments.json)
    is_component = name in registry.origins() or registry.section != "hierarchy"
    if is_component or not _is_file(Path(name)):
        about, as_text = describe.as_dict(registry, name), describe.as_text
    else:
        about, as_text = tree.of_file(Path(name)), tree.as_text
    print(json.dumps(about, indent=2) if arguments.json else _printable(as_text(about)))
    return 0


def _is_file(path: Path) -> bool:
    """Whether a file is meant: one that is there, or that only lacks being there."""
    return path.exists() or path.is_symlink() or path.suffix.lower() in ENDINGS


def _printable(text: str) -> str:
    """The text, its branches drawn in ASCII and all else escaped where stdout has no other."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(str.maketrans("│├└─", "||`-"))
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _kinds(as_json: bool) -> int:
    registries = by_name()
    kinds: dict[str, Any] = {kind: registry.origins() for kind, registry in registries.items()}
    faults = {
        f"{kind}.{name}": why
        for kind, registry in registries.items()
        for name, why in registry.faults().items()
    }
    broken = {**faults, **broken_files()}
    if as_json:
        print(json.dumps(kinds | ({"broken": broken} if broken else {}), indent=2))
        return 0
    rows: list[tuple[str, ...]] = [("KIND", "NAME", "FROM")]
    for kind, origins in kinds.items():
        rows += [(kind, name, origin) for name, origin in origins.items()]
    print(_table(rows))
    if broken:
        print("", "BROKEN", *(f"{place}: {why}" for place, why in broken.items()), sep="\n")
    return 0


def _recipes(as_json: bool) -> int:
    from hieraseg.recipe.shipped import shipped_recipes

    found = {name: _first_comment(path) for name, path in shipped_recipes().items()}
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        print(_table([("NAME", "SUMMARY"), *found.items()]))
    return 0


def _first_comment(recipe: Path) -> str:
    lines = recipe.read_text(encoding="utf-8").splitlines()
    comments = (line[2:] for line in lines if line.startswith("# ") and "$schema" not in line)
    return next(comments, "")


def _components(summaries: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        print(json.dumps(summaries, indent=2))
        return 0
    rows: list[tuple[str, ...]] = [("NAME", "FROM", "ARGUMENTS", "SUMMARY")]
    for one in summaries:
        summary = f"broken: {one['broken']}" if "broken" in one else one["summary"]
        arguments = ", ".join(one.get("arguments", [])) or "-"
        rows.append((one["name"], one["origin"], arguments, summary))
    print(_table(rows))
    return 0


def _table(rows: list[tuple[str, ...]]) -> str:
    """Rows in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
