"""`hieraseg new`: a plugin to start from."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from hieraseg.cli.parsing import add_command, add_json
from hieraseg.registry import find_registry


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "new",
        run,
        summary="write a working plugin to start from",
        description="""
            Write a plugin of any kind that works as it is, with typed and documented arguments,
            and a test that checks the contract of its kind. No file is overwritten.
        """,
        examples="""
            hieraseg new loss my_loss
            hieraseg new decoder my_decoder --out plugins
            hieraseg new backbone my_backbone --package
        """,
    )
    parser.add_argument("kind", metavar="KIND", help="as in losses, or loss")
    parser.add_argument("name", metavar="NAME", help="of the new component, as in my_loss")
    parser.add_argument(
        "--package",
        action="store_true",
        help="write an installable package with an entry point, not one file",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="folder to write to (default: .)"
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Write the files; print them, and what to do next."""
    from hieraseg.registry.files import plugin_folders
    from hieraseg.scaffold import write_package, write_plugin

    registry = find_registry(arguments.kind)
    name, out = arguments.name, arguments.out
    check = f"hieraseg check {registry.section} {name}"
    if arguments.package:
        files = write_package(registry, name, out)
        root = files[0].parent
        following = [f"python -m pip install --editable {root}", f"python -m pytest {root}"]
    else:
        files = write_plugin(registry, name, out)
        on_path = any(out.samefile(folder) for folder in plugin_folders())
        plugin = "" if on_path else f" --plugin {files[0]}"
        following = [check + plugin, f"python -m pytest {files[1]}"]
    if arguments.json:
        print(json.dumps({"files": [str(file) for file in files], "next": following}, indent=2))
    else:
        print(*(f"wrote {file}" for file in files), "", "Next:", sep="\n")
        print(*(f"    {command}" for command in following), sep="\n")
    return 0
