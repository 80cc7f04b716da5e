"""New plugins: a working file of any kind with its test, or an installable package of both."""

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from string import Template

from hieraseg.errors import RecipeError
from hieraseg.registry import Registry
from hieraseg.registry.kinds import TEMPLATES


def write_plugin(registry: Registry, name: str, folder: Path) -> list[Path]:
    """A plugin file and its test.

    Args:
        registry: of the kind.
        name: of the component, and of the file.
        folder: to write to; it is made if it does not exist.

    Returns:
        The files written.

    Raises:
        RecipeError: a name that cannot be used; a file that is there already.
    """
    words = _words(registry, name)
    decorated = {
        "registry": ", registry",
        "import_registry": "from hieraseg import registry\n",
        "register": f'@registry.{registry.kind.name}.register("{name}")\n',
    }
    contents = {
        folder / f"{name}.py": _filled(registry.kind.template, words | decorated),
        folder / f"test_{name}.py": _filled(
            TEMPLATES / "test.template", words | {"module": name, "gap": "\n"}
        ),
    }
    return _write(contents)


def write_package(registry: Registry, name: str, folder: Path) -> list[Path]:
    """A package with one plugin, its entry point and its test; else as `write_plugin`."""
    words = _words(registry, name)
    package = f"hieraseg_{name}"
    root = folder / package.replace("_", "-")
    words |= {"kind": registry.kind.name, "package": package, "distribution": root.name}
    words |= {"registry": "", "import_registry": "", "register": ""}
    words |= {"module": f"{package}.{name}", "gap": ""}
    contents = {
        root / "pyproject.toml": _filled(TEMPLATES / "pyproject.template", words),
        root / "README.md": _filled(TEMPLATES / "readme.template", words),
        root / package / "__init__.py": f'"""The {registry.section} {name} for hieraseg."""\n',
        root / package / f"{name}.py": _filled(registry.kind.template, words),
        root / "tests" / f"test_{name}.py": _filled(TEMPLATES / "test.template", words),
    }
    return _write(contents)


def _words(registry: Registry, name: str) -> dict[str, str]:
    """What the templates' placeholders stand for, whatever is written.

    Raises:
        RecipeError: the name is none for a component and its module, or is taken.
    """
    if not name.isidentifier() or not name.isascii() or name != name.lower() or name[0] == "_":
        suggestion = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")
        hint = f", as in {suggestion!r}" if suggestion.isidentifier() else ""
        raise RecipeError(f"{name!r} is no name for a plugin: use small letters and _{hint}")
    if name.startswith("test_") or name == "conftest":
        raise RecipeError(f"{name!r} is a name for tests, which a plugin folder passes over")
    taken = registry.origins().get(name)
    if taken is not None:
        raise RecipeError(f"{registry.section} {name!r} is already registered by {taken}")
    camel = "".join(word.capitalize() for word in name.split("_"))
    template = registry.kind.template.read_text(encoding="utf-8")
    attribute = name if "def $name(" in template else camel
    used = re.findall(r"\w+", template)
    is_module = name in sys.stdlib_module_names or find_spec(name) is not None
    if is_module or keyword.iskeyword(name) or attribute in used:
        raise RecipeError(
            f"{name!r} is used in Python or in the plugin's file: say more, as in 'my_{name}'"
        )
    testing, _, contract = registry.kind.suite.partition(":")
    return {
        "name": name,
        "Class": camel,
        "attribute": attribute,
        "section": registry.section,
        "testing": testing,
        "Contract": contract,
    }


def _filled(template: Path, words: dict[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(words)


def _write(contents: dict[Path, str]) -> list[Path]:
    """Write all files, or none where one is there already."""
    for path in contents:
        if path.exists():
            raise RecipeError(f"{path}: is there already; choose another name or --out")
    for path, text in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise RecipeError(
                f"{path}: cannot be written ({reason}); choose another --out"
            ) from error
    return list(contents)
