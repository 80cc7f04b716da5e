"""Provenance of a run: the code, packages, hardware and data that it used."""

import hashlib
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, TypedDict

import hieraseg
from hieraseg.data.stores.store import Store
from hieraseg.recipe import ComponentSpec, Recipe
from hieraseg.recipe.paths import paths_in
from hieraseg.registry.sources import module_digest, source_digest
from hieraseg.runs.environment import all_versions, hardware, numerics
from hieraseg.runs.records import sha256
from hieraseg.tracebacks import source_file

UNUSED_IN_RUNS = {
    *("cli", "comparison", "exporting", "page", "scaffold", "statistics", "sweeps", "testing"),
    *("visualize", "bench.py", "compare.py", "export.py", "inspect_data.py", "predict.py"),
    "preview.py",
}
"""Packages and modules of hieraseg that change no result."""


class DataRecord(TypedDict):
    """The images that a run reads: `data`, a fingerprint of each split, and their number."""

    data: dict[str, str]
    images: dict[str, int]


def data_record(stores: Mapping[str, Store]) -> DataRecord:
    """The record of the stores that a run reads."""
    return {
        "data": {split: store.fingerprint for split, store in stores.items()},
        "images": {split: len(store) for split, store in stores.items()},
    }


def provenance(recipe: Recipe, data: DataRecord) -> dict[str, Any]:
    """Content of `provenance.json`, without what is copied into the run folder.

    Args:
        recipe: the resolved recipe.
        data: the images that it reads.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": sys.argv,
        "host": platform.node(),
        "folder": os.getcwd(),
        "seed": recipe.training.seed,
        "packages": all_versions(),
        "precision": recipe.training.precision,
        "hardware": hardware(),
        "numerics": numerics(),
        **inputs(recipe, data),
    }


def inputs(recipe: Recipe, data: DataRecord) -> dict[str, Any]:
    """The part of the provenance that says of which code and data the results are made."""
    files = _source_files()
    listed = "".join(f"{name} {digest}\n" for name, digest in files.items())
    return {
        "code": {
            "version": hieraseg.__version__,
            "sources": hashlib.sha256(listed.encode()).hexdigest(),
            "files": {name: digest[:16] for name, digest in files.items()},
        },
        **data,
        "plugins": {
            section: [_component(one) for one in specs]
            for section, specs in groupby(recipe.specs(), lambda one: one.section)
        },
    }


def code_files(recipe: Recipe) -> Iterator[Path]:
    """Files whose repositories say where the code and the recipe of a run come from."""
    yield Path(__file__)
    yield recipe.path
    yield from (file.path for file in recipe.plugins)
    yield from filter(None, (source_file(one.factory) for one in recipe.specs()))


def _component(component: ComponentSpec) -> dict[str, Any]:
    """Digests of a component's code, and of the files that its arguments name."""
    factory = component.factory
    named = [path for key, value in component.arguments.items() for _, path in paths_in(value, key)]
    return {
        "name": component.name,
        "object": f"{factory.__module__}:{factory.__qualname__}",
        "sha256": component.code or module_digest(factory),
        "sources": source_digest(factory),
        "files": {str(path): sha256(path) for path in named if path.is_file()},
    }


@cache
def _source_files() -> dict[str, str]:
    """SHA-256 of each source file of hieraseg that takes part in training and scoring."""
    root = Path(__file__).parents[1]
    names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.py"))
    return {name: sha256(root / name) for name in names if name.split("/")[0] not in UNUSED_IN_RUNS}
