"""`hieraseg new`: write a plugin to start from."""

from argparse import Namespace
from typing import Any

from hieraseg.cli.options import add_command, add_component, add_json, add_out
from hieraseg.cli.report import print_result
from hieraseg.registry import find_registry


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg new`."""
    parser = add_command(
        commands,
        "new",
        run,
        summary="write a working plugin to start from",
        description="""
            Write a working plugin of any kind, with typed and documented arguments, and a test
            that checks the contract of its kind. Existing files are never overwritten.
        """,
        examples="""
            hieraseg new loss my_loss
            hieraseg new decoder my_decoder --out plugins
            hieraseg new backbone my_backbone --package
        """,
    )
    add_component(parser, "name of the new component, as in my_loss")
    parser.add_argument(
        "--package",
        action="store_true",
        help="write an installable package with an entry point instead of a single file",
    )
    add_out(parser, "the plugin", default=".")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Write the files, and print their paths and the commands to run next."""
    from hieraseg.registry.files import plugin_folders
    from hieraseg.scaffold import write_package, write_plugin

    registry = find_registry(arguments.kind)
    name, out = arguments.name, arguments.out
    if arguments.package:
        files = write_package(registry, name, out)
        root = files[0].parent
        commands = [f"python -m pip install --editable {root}", f"python -m pytest {root}"]
    else:
        files = write_plugin(registry, name, out)
        is_found = any(out.samefile(folder) for folder in plugin_folders())
        option = "" if is_found else f" --plugin {files[0]}"
        check = f"hieraseg check {registry.singular} {name}{option}"
        commands = [check, f"python -m pytest {files[1]}"]
    paths = [str(file) for file in files]
    lines = [f"wrote {path}" for path in paths]
    lines += ["", "Next:", *(f"    {command}" for command in commands)]
    print_result(arguments.json, {"files": paths, "next": commands}, "\n".join(lines))
    return 0
