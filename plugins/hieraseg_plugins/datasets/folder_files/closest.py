"""Sentences about files that are not there, with the closest one that is."""

import os
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from pathlib import Path

from hieraseg_plugins.datasets.folder_files.listing import list_files
from hieraseg_plugins.datasets.folder_files.templates import Template

_NEIGHBORS = 100
"""Number of candidates before and after a path that it is compared with."""


def closest(path: str, candidates: Collection[str], cutoff: float = 0.3) -> str:
    """The candidate that is most like a path; empty if none is.

    To compare it with all of many files would take long. The closest one is next to it in the order
    of paths, or, if folders differ, in the order of names.
    """
    near = {*_near(path, candidates, str), *_near(path, candidates, os.path.basename)}
    return next(iter(get_close_matches(path, sorted(near), n=1, cutoff=cutoff)), "")


def _near(path: str, candidates: Collection[str], key: Callable[[str], str]) -> list[str]:
    """Candidates around a path in an order."""
    ordered = sorted(candidates, key=key)
    place = bisect_left(ordered, key(path), key=key)
    return ordered[max(place - _NEIGHBORS, 0) : place + _NEIGHBORS]


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
        f"{below}: no file matches the template {template.text!r}; the first files there are "
        f"{', '.join(map(repr, (own or files)[:3]))}, and the closest one is "
        f"{closest(template.text, kinds.values(), cutoff=0)!r}; change the template to match it"
    )
