"""`hieraseg list`: list components, recipes and runs."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from hieraseg.cli.layout import align_columns
from hieraseg.cli.list_runs import list_runs
from hieraseg.cli.options import KIND_HELP, add_command, add_json, add_plugins
from hieraseg.cli.plugins import loaded_plugins
from hieraseg.cli.report import print_result
from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.files.paths import expanded
from hieraseg.registry import Registry, by_name, by_singular, find_registry
from hieraseg.registry.files import broken_files
from hieraseg.registry.sections import SECTIONS

RECIPES, RUNS = "recipes", "runs"


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg list`."""
    parser = add_command(
        commands,
        "list",
        run,
        summary="list the components that a recipe can name, or runs",
        description="""
            List the components that a recipe can name: of all kinds, of one kind, or a single one
            with its description, its arguments and a recipe section to copy. For a hierarchy, or
            a hierarchy file, the class tree is drawn with its labels. Broken components are
            listed with the reason. `--filter` lists the models of a component that wraps a library
            of them.

            `hieraseg list training` describes the keys of a section that names no component; all
            of these sections are named below, at KIND. `hieraseg list recipes` lists the installed
            recipes, and with a NAME prints one of them.

            `hieraseg list runs` lists the runs in the folder `runs`, or in the one that NAME is,
            the one that changed last at the end: whether each has finished or still runs, its
            epoch, the step of its newest checkpoint, mIoU of the last level on val (the best so
            far), size and age. `stopped` runs were killed; why others failed or diverged is said
            below, and which of them `hieraseg resume` can go on with.
        """,
        examples="""
            hieraseg list
            hieraseg list losses
            hieraseg list inference --json
            hieraseg list hierarchies pascal_part
            hieraseg list hierarchies tree.yaml
            hieraseg list losses my_loss --plugin my_loss.py
            hieraseg list backbones timm --filter convnext
            hieraseg list training
            hieraseg list recipes
            hieraseg list recipes quickstart
            hieraseg list runs
            hieraseg list runs /data/runs --state running
        """,
    )
    parser.add_argument(
        "kind",
        metavar="KIND",
        nargs="?",
        help=f"{KIND_HELP}; or `recipes`, `runs`, or a section: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="name of a component or recipe, path of a hierarchy file, or folder of runs",
    )
    parser.add_argument(
        "--filter",
        metavar="TEXT",
        help="list the models of a component that wraps many, whose names contain this text",
    )
    parser.add_argument(
        "--state", metavar="STATE", help="list only runs of this state, such as `running`"
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print a table of all kinds, a table of one kind, or the description of one component."""
    kind, name, as_json = arguments.kind, arguments.name, arguments.json
    if arguments.filter is not None:
        _list_choices(arguments)
        return 0
    if arguments.state is not None and kind != RUNS:
        raise RecipeError("--state: needs `hieraseg list runs`, whose states it chooses")
    if kind == RUNS:
        list_runs(None if name is None else expanded(name), arguments.state, as_json)
        return 0
    if kind == RECIPES:
        _list_recipes(name, as_json)
        return 0
    if kind in SECTIONS:
        _describe_section(kind, name, as_json)
        return 0
    with loaded_plugins(arguments):
        if kind is None:
            _list_all(as_json)
        elif name is None:
            _list_kind(_find_registry(kind), as_json)
        else:
            _describe(_find_registry(kind), name, as_json)
    return 0


def _list_choices(arguments: Namespace) -> None:
    """Print a table of the models of a component that wraps many."""
    if arguments.name is None or arguments.kind in (RECIPES, RUNS, *SECTIONS):
        raise RecipeError("--filter: needs KIND and NAME of a component whose models it lists")
    with loaded_plugins(arguments):
        # Not at the top, since contracts import torch.
        from hieraseg.cli import choices

        listed = choices.as_list(_find_registry(arguments.kind), arguments.name, arguments.filter)
        print_result(arguments.json, listed, choices.as_text(listed))


def _find_registry(kind: str) -> Registry:
    known = [*by_name(), *by_singular(), *SECTIONS, RECIPES, RUNS]
    if kind not in known:
        raise RecipeError(f"unknown kind of component {kind!r}, {did_you_mean(kind, known)}")
    return find_registry(kind)


def _list_recipes(name: str | None, as_json: bool) -> None:
    """Print the names of all shipped recipes, or the text of one."""
    from hieraseg.recipe.shipped import shipped_recipes

    recipes = shipped_recipes()
    if name is None:
        summaries = {name: _first_comment(path) for name, path in recipes.items()}
        print_result(as_json, summaries, align_columns([("NAME", "SUMMARY"), *summaries.items()]))
        return
    if name not in recipes:
        raise RecipeError(f"unknown recipe {name!r}, {did_you_mean(name, recipes)}")
    text = recipes[name].read_text(encoding="utf-8")
    result = {"name": name, "path": str(recipes[name]), "text": text}
    print_result(as_json, result, text.rstrip("\n"))


def _describe_section(section: str, name: str | None, as_json: bool) -> None:
    """Print the keys of a section that names no component, or one of them."""
    from hieraseg.cli import describe

    description = describe.section_as_dict(section, name)
    print_result(as_json, description, describe.as_text(description))


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
    from hieraseg.cli import fits
    from hieraseg.cli.describe import summarize

    components = [summarize(registry, name) for name in registry.names()]
    rows = [["NAME", *(["FITS"] if registry.kind.fits else []), "SUMMARY"]]
    for one in components:
        fitting = [fits.as_text(one.get("fits", {}))] if registry.kind.fits else []
        rows.append([one["name"], *fitting, one.get("summary") or f"broken: {one['broken']}"])
    print_result(as_json, components, align_columns(rows))


def _describe(registry: Registry, name: str, as_json: bool) -> None:
    from hieraseg.cli import describe, tree

    is_component = registry.section != "hierarchy" or name in registry.names()
    if is_component or not _is_file_name(expanded(name)):
        description = describe.as_dict(registry, name)
        text = describe.as_text(description)
    else:
        description = tree.from_file(expanded(name))
        text = tree.as_text(description)
    print_result(as_json, description, text)


def _is_file_name(path: Path) -> bool:
    """Whether a name is the path of a hierarchy file, existing or not, rather than a component."""
    from hieraseg.hierarchy.files import EXTENSIONS

    return path.exists() or path.is_symlink() or path.suffix.lower() in EXTENSIONS
