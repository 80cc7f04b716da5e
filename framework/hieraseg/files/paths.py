"""Paths as people write them: `~`, relative paths, and the folder of all data sets."""

import os
import shlex
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

DATA = "HIERASEG_DATA"
"""Environment variable with the folder of all data sets."""


def expanded(path: str | Path) -> Path:
    """The path with its `~` or `~user` replaced by that home folder, if there is one."""
    return Path(os.path.expanduser(path))


def absolute(path: str | Path, folder: Path = Path()) -> Path:
    """The path without `~` and `..`; a relative one is relative to a folder.

    Args:
        path: the path.
        folder: by default the working directory.
    """
    return Path(os.path.abspath(folder / expanded(path)))


@contextmanager
def keep_working_directory() -> Iterator[None]:
    """Code inside may change the working directory; afterwards it is as before.

    Plugins are run in this context, so that they do not move what relative paths mean.
    """
    with chdir(os.curdir):
        yield


def quoted(path: str | Path) -> str:
    """A path in a command to be pasted into a shell: in quotes if it needs them."""
    text = str(path)
    # A `~` inside, as in shortened names of runs, is no home folder.
    is_plain = not shlex.quote(f"{text[:1]}{text[1:].replace('~', '')}").startswith("'")
    return text if is_plain else shlex.quote(text)


def is_utf8(path: Path) -> bool:
    """Whether the bytes of a path are UTF-8, as recipes and weight files need."""
    return not any("\ud800" <= one <= "\udfff" for one in str(path))


def shown(path: Path) -> str:
    """The path in a message: in quotes if it cannot be printed."""
    return str(path) if str(path).isprintable() else repr(str(path))


def data_folder(name: str) -> Path:
    """Folder of a data set: `$HIERASEG_DATA/<name>`, or `data/<name>` in the working directory.

    The default of a data set's argument `root` (see `contracts.Dataset`):

        def __init__(self, root: Path | None = None) -> None:
            self.root = root or data_folder("my_data")

    Args:
        name: the data set.

    Returns:
        An absolute path, which need not exist.
    """
    return absolute(name, absolute(os.environ.get(DATA) or "data"))
