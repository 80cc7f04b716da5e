"""Provenance of a run: the code, packages, hardware and data that it used."""

import hashlib
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

import hieraseg
from hieraseg.recipe import ComponentSpec, Recipe
from hieraseg.recipe.paths import paths_in
from hieraseg.registry.sources import source_digest
from hieraseg.runs.records import sha256
from hieraseg.tracebacks import source_file

_PACKAGES = (
    *("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow"),
    *("jsonargparse", "catalogue", "safetensors"),
)
UNUSED_IN_RUNS = {
    *("cli", "comparison", "exporting", "page", "scaffold", "statistics", "sweeps", "testing"),
    *("visualize", "bench.py", "compare.py", "export.py", "inspect_data.py", "predict.py"),
    "preview.py",
}
"""Packages and modules of hieraseg that change no result."""


def provenance(recipe: Recipe, data: dict[str, str]) -> dict[str, Any]:
    """Content of `provenance.json`.

    Args:
        recipe: the resolved recipe.
        data: fingerprint of each split that was read.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": sys.argv,
        "seed": recipe.training.seed,
        "code": {"version": hieraseg.__version__, "sources": _sources(), **_revision()},
        "packages": versions(),
        "precision": recipe.training.precision,
        "hardware": {
            "platform": platform.platform(),
            "cpu_cores": os.cpu_count(),
            # With another number of threads, sums are rounded in another order.
            "threads": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            "gpus": [torch.cuda.get_device_name(gpu) for gpu in range(torch.cuda.device_count())],
        },
        "data": data,
        "plugins": {
            section: [_component(one) for one in specs]
            for section, specs in groupby(recipe.specs(), lambda one: one.section)
        },
    }


def _component(component: ComponentSpec) -> dict[str, Any]:
    """Digests of a component's code, and of the files that its arguments name."""
    factory = component.factory
    digest: str | None = component.code
    if not digest:
        file = source_file(factory)
        digest = sha256(file) if file else None
    named = [path for key, value in component.arguments.items() for _, path in paths_in(value, key)]
    return {
        "name": component.name,
        "object": f"{factory.__module__}:{factory.__qualname__}",
        "sha256": digest,
        "sources": source_digest(factory),
        "files": {str(path): sha256(path) for path in named if path.is_file()},
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def _sources() -> str:
    """SHA-256 of the source files of hieraseg that take part in training and scoring."""
    root = Path(__file__).parents[1]
    names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.py"))
    used = [name for name in names if name.split("/")[0] not in UNUSED_IN_RUNS]
    content = "".join(f"{name} {sha256(root / name)}\n" for name in used)
    return hashlib.sha256(content.encode()).hexdigest()


def _revision() -> dict[str, str | None]:
    """Revision of the checkout that the program runs from, and its uncommitted changes."""
    root = Path(__file__).parent
    if _git(root, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return {"revision": None, "diff": None}  # installed; maybe below another repository
    return {"revision": _git(root, "rev-parse", "HEAD"), "diff": _git(root, "diff", "HEAD")}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
