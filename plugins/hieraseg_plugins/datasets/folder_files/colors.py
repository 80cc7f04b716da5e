"""Color tables: which color a class has in RGB-coded masks."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hieraseg.errors import DataError
from hieraseg.types import ArgumentError
from hieraseg_plugins.datasets.folder_files.lists import find_list, read_text

Color = tuple[int, int, int]
_ONE_EACH = "give each name a color of its own"


def color_names(roots: Sequence[Path], colors: Mapping[str, Color] | str) -> dict[Color, str]:
    """The name of each color.

    Args:
        roots: folders of the data set.
        colors: color of each name; or the path, below one of the roots, of a text file with lines
            `r g b name`, or of a CSV file with the header `name,r,g,b` in any order.

    Raises:
        ArgumentError: the recipe has no colors, or one color for two names.
        DataError: the file cannot be read, or two of its names are one, or have one color.
    """
    if not colors:
        raise ArgumentError("colors", "must have at least one color")
    if not isinstance(colors, str):
        names = {(red, green, blue): name for name, (red, green, blue) in colors.items()}
        hidden = next((name for name in colors if name not in names.values()), None)
        if hidden is not None:
            problem = f"has {list(colors[hidden])} for {hidden!r} and another name; {_ONE_EACH}"
            raise ArgumentError("colors", problem)
        return names
    found: dict[Color, str] = {}
    for name, color, place in _read(find_list(roots, colors)):
        if color in found:
            raise DataError(f"{place}: {found[color]!r} has {list(color)} already; {_ONE_EACH}")
        if name in found.values():
            raise DataError(f"{place}: duplicate name {name!r}; {_ONE_EACH}")
        found[color] = name
    return found


def _read(path: Path) -> list[tuple[str, Color, str]]:
    """Name, color and place of each line."""
    rows = []
    header: list[str] | None = None
    for number, line in enumerate(read_text(path).split("\n"), 1):
        place, columns = f"{path}:{number}", _columns(line)
        if not columns:
            continue
        if header is None:
            header = [column.lower() for column in columns]
            if sorted(header) == ["b", "g", "name", "r"]:
                continue
            header = ["r", "g", "b", "name"]
        rows.append((*_row(dict(zip(header, columns, strict=False)), line.strip(), place), place))
    if not rows:
        raise DataError(f"{path}: has no colors; write lines such as 64 128 64 Animal")
    return rows


def _columns(line: str) -> list[str]:
    if "," in line:
        return [column.strip() for column in next(csv.reader([line.strip()]))]
    return line.split(maxsplit=3)


def _row(columns: dict[str, str], line: str, place: str) -> tuple[str, Color]:
    values = [columns.get(channel, "") for channel in "rgb"]
    if not columns.get("name") or not all(one.isdecimal() and int(one) < 256 for one in values):
        raise DataError(
            f"{place}: expected red, green and blue in 0..255 and a name, as in 64 128 64 Animal, "
            f"got {line!r}"
        )
    red, green, blue = map(int, values)
    return columns["name"].strip(), (red, green, blue)
