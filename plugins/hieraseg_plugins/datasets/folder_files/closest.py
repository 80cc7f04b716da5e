"""Sentences about files that are not there, with the closest one that is."""

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from hieraseg_plugins.datasets.folder_files.listing import list_files
from hieraseg_plugins.datasets.folder_files.templates import Template

_LONGEST = 500
"""Number of paths that one is compared with: more take seconds."""


def closest(path: str, candidates: Iterable[str], cutoff: float = 0.3) -> str:
    """The candidate that is most like a path; empty if none is."""
    few = list(candidates)
    few = few[:: len(few) // _LONGEST + 1]
    return next(iter(get_close_matches(path, few, n=1, cutoff=cutoff)), "")


def nothing_found(roots: Sequence[Path], template: Template) -> str:
    """Why a template has no files, and which there are."""
    below = " and ".join(map(str, roots))
    files = sorted(path for root in roots for path in list_files(root, "", None))
    if not files:
        return f"{below}: has no files; set data.root to the folder of the data set"
    own = [path for path in files if path.startswith(f"{template.prefix}/")]
    # One file of each kind is enough, and more of one kind would hide the others.
    kinds = {(os.path.dirname(path), os.path.splitext(path)[1]): path for path in reversed(files)}
    return (
        f"{below}: no file is as the template {template.text!r}; the first files there are "
        f"{', '.join(map(repr, (own or files)[:3]))}, and the closest one is "
        f"{closest(template.text, kinds.values(), cutoff=0)!r}; write the template as the paths are"
    )
