"""Digests of components: those of the sources that were loaded, whatever the files become."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from hieraseg.registry.files import PluginFile
from hieraseg.registry.kinds import find_kind
from hieraseg.registry.registry import Listing, Registry
from hieraseg.registry.sources import module_digest, source_digest

PLUGIN = """
from hieraseg import registry


@registry.schedules.register("flat")
def flat(optimizer): ...
"""
KEY = ("schedules", "flat")


def component_of(path: Path, source: str = PLUGIN) -> Any:
    """The component of a plugin file that is written here."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    return PluginFile.read(path).components()[KEY]


@pytest.mark.parametrize("edited", [False, True])
def test_a_plugin_file_that_is_edited_or_removed(edited: bool, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    loaded, other = component_of(path), component_of(tmp_path / "other.py", PLUGIN + "# other\n")
    known = source_digest(component_of(tmp_path / "same.py"))
    if edited:
        path.write_text(PLUGIN + "# edited\n")
    else:
        path.unlink()
    assert source_digest(loaded) == known
    assert source_digest(other) != known
    assert module_digest(loaded) == PluginFile(path, PLUGIN.encode()).sha256


def test_the_copy_of_a_plugin_file_is_a_module_of_its_own(tmp_path: Path) -> None:
    original, copy = (component_of(tmp_path / name / "own.py") for name in ("here", "run"))
    files = [sys.modules[one.__module__].__file__ for one in (original, copy)]
    assert files == [str(tmp_path / name / "own.py") for name in ("here", "run")]
    assert source_digest(original) == source_digest(copy)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a package `lab`, whose component imports a helper, and another one in a call."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "helper.py").write_text("")
    (folder / "late.py").write_text("x = 1\n")
    (folder / "parts.py").write_text(
        "import lab.helper\ndef flat(optimizer):\n    import lab.late\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    forget(monkeypatch)
    return folder


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next import of the package be one of a new process."""
    for name in ("lab", "lab.helper", "lab.late", "lab.parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def loaded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The component of the package, as a recipe gets it."""
    registry = Registry(find_kind("schedule"))
    point = EntryPoint("flat", "lab.parts:flat", registry.kind.group)
    listing = Listing("flat", "lab", point.load, point.value)
    monkeypatch.setattr(registry, "listings", lambda: {"flat": [listing]})
    return registry.get("flat")


@pytest.mark.parametrize("changed", ["parts", "helper"])
def test_a_package_that_is_edited_after_it_was_loaded(
    changed: str, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = loaded(monkeypatch)
    path = lab / f"{changed}.py"
    path.write_text(path.read_text() + "# edited\n")
    digest = source_digest(component)  # the first one, as that of the last run of a sweep
    forget(monkeypatch)
    assert source_digest(loaded(monkeypatch)) != digest
    path.write_text(path.read_text().removesuffix("# edited\n"))
    forget(monkeypatch)
    assert source_digest(loaded(monkeypatch)) == digest


def test_what_a_component_imports_in_a_call_is_no_change(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = loaded(monkeypatch)
    before = source_digest(component)
    component(None)
    assert "lab.late" in sys.modules
    assert source_digest(component) == before
