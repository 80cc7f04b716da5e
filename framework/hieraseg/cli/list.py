"""`hieraseg list`: list components and recipes."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from hieraseg.cli.options import KIND_HELP, add_command, add_json, add_plugins
from hieraseg.cli.plugins import loaded_plugins
from hieraseg.cli.report import align_columns, print_result
from hieraseg.registry import Registry, by_name, find_registry
from hieraseg.registry.files import broken_files


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg list`."""
    parser = add_command(
        commands,
        "list",
        run,
        summary="list the components that a recipe can name",
        description="""
            List the components that a recipe can name: of all kinds, of one kind, or a single one
            with its description, its arguments and a recipe section to copy. For a hierarchy, or
            a hierarchy file, the class tree is drawn with its labels. Broken components are
            listed with the reason. `hieraseg list recipes` lists the installed recipes.
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
    parser.add_argument("kind", metavar="KIND", nargs="?", help=f"{KIND_HELP}; or `recipes`")
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="name of a component, or path of a hierarchy file"
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print a table of all kinds, a table of one kind, or the description of a component."""
    if arguments.kind == "recipes":
        _list_recipes(arguments.json)
        return 0
    with loaded_plugins(arguments):
        if arguments.kind is None:
            _list_all(arguments.json)
        elif arguments.name is None:
            _list_kind(find_registry(arguments.kind), arguments.json)
        else:
            _describe(find_registry(arguments.kind), arguments.name, arguments.json)
    return 0


def _list_recipes(as_json: bool) -> None:
    from hieraseg.recipe.shipped import shipped_recipes

    summaries = {name: _first_comment(path) for name, path in shipped_recipes().items()}
    print_result(as_json, summaries, align_columns([("NAME", "SUMMARY"), *summaries.items()]))


def _first_comment(recipe: Path) -> str:
    lines = recipe.read_text(encoding="utf-8").splitlines()
    comments = (line[2:] for line in lines if line.startswith("# ") and "$schema" not in line)
    return next(comments, "")


def _list_all(as_json: bool) -> None:
    registries = by_name()
    origins: dict[str, Any] = {kind: registry.origins() for kind, registry in registries.items()}
    broken = {
        f"{kind}.{name}": reason
        for kind, registry in registries.items()
        for name, reason in registry.faults().items()
    }
    broken |= broken_files()
    rows = [("KIND", "NAME", "FROM")]
    rows += [(kind, name, origin) for kind in origins for name, origin in origins[kind].items()]
    text = align_columns(rows)
    if broken:
        reasons = (f"{place}: {reason}" for place, reason in broken.items())
        text = "\n".join([text, "", "BROKEN", *reasons])
    print_result(as_json, origins | ({"broken": broken} if broken else {}), text)


def _list_kind(registry: Registry, as_json: bool) -> None:
    # Summaries need the components, which import torch.
    from hieraseg.cli.describe import summarize

    components = [summarize(registry, name) for name in registry.names()]
    rows = [("NAME", "FROM", "ARGUMENTS", "SUMMARY")]
    for one in components:
        summary = f"broken: {one['broken']}" if "broken" in one else one["summary"]
        arguments = ", ".join(one.get("arguments", [])) or "-"
        rows.append((one["name"], one["origin"], arguments, summary))
    print_result(as_json, components, align_columns(rows))


def _describe(registry: Registry, name: str, as_json: bool) -> None:
    from hieraseg.cli import describe, tree

    is_component = registry.section != "hierarchy" or name in registry.names()
    if is_component or not _is_file_name(Path(name)):
        description = describe.as_dict(registry, name)
        text = describe.as_text(description)
    else:
        description = tree.from_file(Path(name))
        text = tree.as_text(description)
    print_result(as_json, description, _printable(text))


def _is_file_name(path: Path) -> bool:
    """Whether a name is the path of a hierarchy file, existing or not, rather than a component."""
    from hieraseg.hierarchy.files import EXTENSIONS

    return path.exists() or path.is_symlink() or path.suffix.lower() in EXTENSIONS


def _printable(text: str) -> str:
    """Replace characters that stdout cannot encode. Branches of a tree become ASCII."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(str.maketrans("│├└─", "||`-"))
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
