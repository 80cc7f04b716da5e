"""Writing files and folders whole: a reader sees the old one or the new one, never a part."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Replace a file in one step.

    Args:
        path: the file.
        write: function that writes the content to another path in the same folder.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    write(unfinished)
    os.replace(unfinished, path)


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file in one step."""
    text = json.dumps(content, indent=2) + "\n"
    write_file(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def write_folder(folder: Path, write: Callable[[Path], Any]) -> None:
    """Replace a folder, after its new content is complete.

    No system call swaps two folders, so the old one is moved aside first. If the process ends at
    that moment, `existing_folder` finds it there.

    Args:
        folder: the folder.
        write: function that writes the files to another, empty folder beside it.
    """
    unfinished, previous = _beside(folder, "unfinished"), _beside(folder, "previous")
    if previous.exists():
        if folder.exists():
            shutil.rmtree(previous)
        else:
            previous.rename(folder)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write(unfinished)
    if folder.exists():
        folder.rename(previous)
    unfinished.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def existing_folder(folder: Path) -> Path:
    """The folder, or its previous version if a process ended while it was being replaced."""
    previous = _beside(folder, "previous")
    return previous if previous.is_dir() and not folder.exists() else folder


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f"{folder.name}.{what}")
