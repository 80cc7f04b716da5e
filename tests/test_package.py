"""What is installed, and what the core may know."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hieraseg import registry

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.*"))
TEMPLATES = sorted(
    [
        *(ROOT / "framework").rglob("*.template"),
        *(ROOT / "framework/hieraseg/page/templates").iterdir(),
    ]
)


def test_wheel_holds_every_module(tmp_path: Path) -> None:
    """setup.cfg lists packages one by one; none is forgotten."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    done = subprocess.run([*build, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for root in (ROOT / "framework", ROOT / "plugins"):
        modules = {str(path.relative_to(root)) for path in root.rglob("*.py")}
        assert modules <= names
        assert {f"{path.name}/py.typed" for path in root.glob("hieraseg*")} <= names
    recipes = {f"hieraseg_recipes/{path.relative_to(ROOT / 'recipes')}" for path in RECIPES}
    templates = {str(path.relative_to(ROOT / "framework")) for path in TEMPLATES}
    assert recipes
    assert templates
    assert recipes | templates <= names


@pytest.mark.parametrize("path", sorted((ROOT / "framework").rglob("*.py")), ids=lambda p: p.stem)
def test_core_does_not_import_plugins(path: Path) -> None:
    """The shipped plugins are as foreign to the core as anyone's."""
    for node in ast.walk(ast.parse(path.read_text())):
        imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            imported = [node.module or ""]
        assert not any(name.startswith("hieraseg_plugins") for name in imported)


@pytest.mark.parametrize("kind", registry.by_name())
def test_every_shipped_plugin_imports(kind: str) -> None:
    """Each name that is listed can be had."""
    components = registry.by_name()[kind]
    assert components.names()
    for name in components.names():
        assert callable(components.get(name))
