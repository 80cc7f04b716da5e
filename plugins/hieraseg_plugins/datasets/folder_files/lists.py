"""Text files that list the ids of a split, or the images and masks of one."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hieraseg.errors import DataError
from hieraseg_plugins.datasets.folder_files.listing import locate
from hieraseg_plugins.datasets.folder_files.templates import IMAGE_SUFFIXES

SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
"""By which a string is known to be the name of a list."""

_HEADERS = (("image", "mask"), ("image", "label"), ("images", "masks"), ("images", "labels"))


class Line(NamedTuple):
    """A line that is not empty.

    Attributes:
        text: the line without spaces at its ends.
        place: file and number of the line.
    """

    text: str
    place: str


def read_ids(roots: Sequence[Path], name: str) -> list[Line]:
    """The ids of a list, one per line.

    Raises:
        DataError: there is no such list, it is no text or empty, a line has the paths of an image
            and its mask, or an id is duplicate or leads out of the root.
    """
    file = find_list(roots, name)
    lines = list(_lines(file))
    seen: dict[str, str] = {}
    for line in lines:
        columns = [column.strip() for column in _columns(line.text, file.suffix.lower())]
        if len(columns) == 2 and all(map(_is_path, columns)):
            raise DataError(
                f"{line.place}: expected an id, got the two paths {line.text!r}; leave out "
                "data.images and data.masks for a list of pairs"
            )
        _check_inside(line.text, line.place)
        if line.text in seen:
            raise DataError(
                f"{line.place}: duplicate id {line.text!r} (first at {seen[line.text]}); list each "
                "id once"
            )
        seen[line.text] = line.place
    return lines


def read_pairs(roots: Sequence[Path], name: str) -> list[tuple[str, str, str]]:
    """Paths of image and mask, relative to a root, and the place of their line.

    They are separated by a tab, a comma, or else by spaces. A path that starts with `/` is below a
    root, as in lists that were written on another machine. A header `image,mask` is skipped.

    Raises:
        DataError: as in `read_ids`, or a line has not two paths.
    """
    file = find_list(roots, name)
    pairs = []
    for number, line in enumerate(_lines(file)):
        columns = [column.strip() for column in _columns(line.text, file.suffix.lower())]
        if number == 0 and tuple(column.lower() for column in columns) in _HEADERS:
            continue
        if len(columns) != 2 or not all(columns):
            raise DataError(
                f"{line.place}: expected the paths of an image and its mask, got {line.text!r}; "
                "write one pair per line, separated by a tab, or set data.images and data.masks "
                "for a list of ids"
            )
        image, mask = (_below(roots, column, line.place) for column in columns)
        pairs.append((image, mask, line.place))
    return pairs


def find_list(roots: Sequence[Path], name: str) -> Path:
    """The file with this name below one of the roots.

    Raises:
        DataError: there is none, or more than one.
    """
    paths = [root / path for root in roots if (path := locate(root, name)) is not None]
    found = list(dict.fromkeys(paths))  # an absolute path is below any root
    if not found:
        names = " or ".join(str(root / name) for root in roots)
        raise DataError(f"{names}: no such file; write its path relative to data.root")
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]}: both are {name}; remove one of them")
    return found[0]


def read_text(path: Path) -> str:
    """The text of a file. Raises DataError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not a UTF-8 text file ({error.reason}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _lines(path: Path) -> Iterator[Line]:
    lines = read_text(path).split("\n")
    found = [Line(text.strip(), f"{path}:{number}") for number, text in enumerate(lines, 1)]
    if not any(line.text for line in found):
        raise DataError(f"{path}: is empty; list one image per line")
    yield from (line for line in found if line.text)


def _columns(text: str, suffix: str) -> list[str]:
    if "\t" in text or suffix == ".tsv":
        return text.split("\t")
    if "," in text or suffix == ".csv":
        return next(csv.reader([text]))
    return text.split()


def _is_path(column: str) -> bool:
    return column.lower().endswith(IMAGE_SUFFIXES)


def _below(roots: Sequence[Path], path: str, place: str) -> str:
    """A listed path, relative to a root."""
    for root in roots:
        if path.startswith(f"{root}/"):
            path = path.removeprefix(f"{root}/")
    path = path.lstrip("/").removeprefix("./")
    _check_inside(path, place)
    return path


def _check_inside(path: str, place: str) -> None:
    if path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
        raise DataError(
            f"{place}: {path!r} leads out of data.root, or has empty parts; write a path inside it"
        )
    if "\\" in path:
        raise DataError(f"{place}: {path!r} has a backslash; write / between folders")
