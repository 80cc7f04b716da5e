"""Environments of their own, for packages that are installed as a user would."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


def new_environment(root: Path, *packages: Path) -> Path:
    """The Python of a new environment that has the packages, and sees what is installed here."""
    venv.create(root, symlinks=True)
    where = {"base": str(root), "platbase": str(root)}
    here = sysconfig.get_path("purelib")
    site = Path(sysconfig.get_path("purelib", "venv", where))
    (site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    python = Path(sysconfig.get_path("scripts", "venv", where)) / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation"]
    # Copies, as setuptools builds beside the sources.
    copies = [shutil.copytree(one, root / "sources" / one.name) for one in packages]
    command = [*pip, *options, *map(str, copies)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def run_module(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m` with these words, in a folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(python), "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
