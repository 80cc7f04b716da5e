"""What may import what (see docs/architecture.md), read from the source."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

FRAMEWORK = Path(__file__).parents[1] / "framework" / "hieraseg"
JOBS = {
    "hieraseg.export",
    *("hieraseg.train", "hieraseg.evaluate", "hieraseg.predict", "hieraseg.compare"),
    *("hieraseg.inspect_data", "hieraseg.preview", "hieraseg.bench"),
}


def module_of(file: Path) -> str:
    """`hieraseg.data.stores.store` of a file."""
    parts = file.relative_to(FRAMEWORK.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in sorted(FRAMEWORK.rglob("*.py"))}


def imports_in(node: ast.AST) -> Iterator[str]:
    """All modules that a tree imports, inside functions too, but not for type checkers alone."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"relative import: {ast.unparse(node)}"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else str(node.module)
    for child in ast.iter_child_nodes(node):
        yield from imports_in(child)


@cache
def graph() -> dict[str, set[str]]:
    """What each module imports."""
    return {
        module: set(imports_in(ast.parse(file.read_bytes()))) for module, file in MODULES.items()
    }


def room_of(module: str) -> str:
    """The package below `hieraseg` that a module is in, or the module itself."""
    is_package = MODULES[module].name == "__init__.py"
    return module if is_package or module.count(".") == 1 else module.rpartition(".")[0]


def test_the_graph_is_read() -> None:
    assert "hieraseg.training.setup" in graph()["hieraseg.train"]
    assert "hieraseg.train" in graph()["hieraseg.cli.run_job"], "imports inside functions count"
    assert len(MODULES) > 80


def test_modules_do_not_import_each_other_in_circles() -> None:
    inner = {module: found & MODULES.keys() for module, found in graph().items()}
    try:
        TopologicalSorter(inner).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_packages_do_not_import_each_other_in_circles() -> None:
    rooms: dict[str, set[str]] = {}
    for module, found in graph().items():
        if module != "hieraseg":
            targets = {room_of(name) for name in found & MODULES.keys()} - {"hieraseg"}
            rooms.setdefault(room_of(module), set()).update(targets - {room_of(module)})
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_the_framework_does_not_import_plugins() -> None:
    found = {
        module: [name for name in names if name.startswith(("hieraseg_plugins", "tests"))]
        for module, names in graph().items()
    }
    assert not any(found.values()), {module: names for module, names in found.items() if names}


def test_jobs_do_not_import_each_other() -> None:
    for job in sorted(JOBS):
        assert not graph()[job] & JOBS, job


def test_only_the_command_line_imports_jobs() -> None:
    for module, names in graph().items():
        if names & JOBS:
            assert room_of(module) == "hieraseg.cli", module


def test_only_one_module_knows_of_several_processes() -> None:
    for module, file in MODULES.items():
        text = file.read_text(encoding="utf-8")
        for word in ("torch.distributed", "all_reduce", "all_gather"):
            assert word not in text or module == "hieraseg.processes", f"{module}: {word}"


def test_only_one_module_imports_fabric() -> None:
    """It does so in less time than others would."""
    found = [
        module
        for module, names in graph().items()
        if any(name.split(".")[0] == "lightning_fabric" for name in names)
    ]
    assert found == ["hieraseg.devices"]


@pytest.mark.parametrize("package", ["catalogue", "lightning_fabric", "jsonargparse", "argparse"])
def test_only_public_names_of_dependencies_are_used(package: str) -> None:
    for module, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{module} imports {private} of {package}"
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                owner = ast.unparse(node.value).split(".")[0].split("(")[0]
                assert owner not in (package, "parser", "command"), f"{module}: {ast.unparse(node)}"
