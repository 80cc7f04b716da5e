"""Writing new plugins: a working plugin file with its test, or an installable package."""

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
    """Write a plugin file and its test.

    Args:
        registry: registry of the kind.
        name: name of the component and of the file.
        folder: folder to write to, which is created if it does not exist.

    Returns:
        Paths of the written files.

    Raises:
        RecipeError: the name is invalid or taken, or a file exists.
    """
    values = _placeholders(registry, name)
    registered = {
        "registry": ", registry",
        "import_registry": "from hieraseg import registry\n",
        "register": f'@registry.{registry.kind.name}.register("{name}")\n',
    }
    contents = {
        folder / f"{name}.py": _filled(registry.kind.template, values | registered),
        folder / f"test_{name}.py": _filled(
            TEMPLATES / "test.template", values | {"module": name, "gap": "\n"}
        ),
    }
    return _write(contents)


def write_package(registry: Registry, name: str, folder: Path) -> list[Path]:
    """Write a package with one plugin, its entry point and its test (see `write_plugin`)."""
    values = _placeholders(registry, name)
    package = f"hieraseg_{name}"
    root = folder / package.replace("_", "-")
    values |= {"kind": registry.kind.name, "package": package, "distribution": root.name}
    values |= {"registry": "", "import_registry": "", "register": ""}
    values |= {"module": f"{package}.{name}", "gap": ""}
    contents = {
        root / "pyproject.toml": _filled(TEMPLATES / "pyproject.template", values),
        root / "README.md": _filled(TEMPLATES / "readme.template", values),
        root / package / "__init__.py": f'"""The {registry.singular} {name} for hieraseg."""\n',
        root / package / f"{name}.py": _filled(registry.kind.template, values),
        root / "tests" / f"test_{name}.py": _filled(TEMPLATES / "test.template", values),
    }
    return _write(contents)


def _placeholders(registry: Registry, name: str) -> dict[str, str]:
    """Values of the placeholders that plugin files and packages share."""
    _check_name(registry, name)
    camel = "".join(word.capitalize() for word in name.split("_"))
    template = registry.kind.template.read_text(encoding="utf-8")
    attribute = name if "def $name(" in template else camel
    if attribute in re.findall(r"\w+", template):
        raise RecipeError(_reserved(name))
    testing, _, contract = registry.kind.suite.partition(":")
    return {
        "name": name,
        "Class": camel,
        "attribute": attribute,
        "section": registry.singular,
        "testing": testing,
        "Contract": contract,
    }


def _check_name(registry: Registry, name: str) -> None:
    """Raise RecipeError if the name is not valid for a component and its module, or is taken."""
    if not name.isidentifier() or not name.isascii() or name != name.lower() or name[0] == "_":
        suggestion = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")
        hint = f", as in {suggestion!r}" if suggestion.isidentifier() else ""
        raise RecipeError(
            f"invalid name {name!r}; use lower-case letters, digits and underscores{hint}"
        )
    if name.startswith("test_") or name == "conftest":
        raise RecipeError(f"invalid name {name!r}; plugin folders ignore files with names of tests")
    taken = registry.origins().get(name)
    if taken is not None:
        raise RecipeError(f"{registry.singular} {name!r} is already registered by {taken}")
    is_module = name in sys.stdlib_module_names or find_spec(name) is not None
    if is_module or keyword.iskeyword(name):
        raise RecipeError(_reserved(name))


def _reserved(name: str) -> str:
    return (
        f"invalid name {name!r}; it is used by Python or the plugin file, use another one, as in "
        f"'my_{name}'"
    )


def _filled(template: Path, values: dict[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(values)


def _write(contents: dict[Path, str]) -> list[Path]:
    """Write all files, or none if one of them exists."""
    for path in contents:
        if path.exists():
            raise RecipeError(f"{path}: file exists; choose another name or --out")
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
