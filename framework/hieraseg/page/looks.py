"""Names, colors and symbols of rows, which are the same in all parts of the page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hieraseg.comparison.rows import Row
from hieraseg.page.sections import render

_COLORS = ("#0077b2", "#e67300", "#996b54", "#884dff", "#cc0000", "#b23674", "#ff00d5", "#8e9954")
"""Each is as far as possible from those before it for readers of any color vision."""

_LONGEST = 22
"""Characters of a part of a name that is not broken."""

_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲"}


@dataclass(frozen=True)
class Look:
    """How a row is written and drawn.

    Attributes:
        name: its title without the folder that all rows have in common.
        color: CSS color, whose contrast to a light and a dark page is at least 3.
        dash: of its lines, as plotly calls it.
        symbol: of its markers, as plotly calls it. Rows of one color have different ones.
        swatch: its marker as a character.
    """

    name: str
    color: str
    dash: str
    symbol: str
    swatch: str

    @property
    def parts(self) -> list[str]:
        """The name in pieces between which a line may be broken."""
        return lines_of(self.name, width=1)


def looks(rows: Sequence[Row]) -> list[Look]:
    """The look of each row."""
    folders = {row.title.rpartition("/")[0] for row in rows}
    shared = len(f"{folders.pop()}/") if len(folders) == 1 and "" not in folders else 0
    found = []
    for index, row in enumerate(rows):
        turn, color = divmod(index, len(_COLORS))
        symbol, swatch = list(_SYMBOLS.items())[(turn + color) % len(_SYMBOLS)]
        found.append(
            Look(row.title[shared:], _COLORS[color], _DASHES[turn % len(_DASHES)], symbol, swatch)
        )
    return found


def with_looks(rows: Sequence[Row]) -> list[tuple[Row, Look]]:
    """The rows, each with its look."""
    return list(zip(rows, looks(rows), strict=True))


def lines_of(name: str, width: int = _LONGEST) -> list[str]:
    """A name in lines of some characters, broken between its parts, of which no one is long."""
    lines = [""]
    for part in re.findall(rf"[^/,_ =-]{{{_LONGEST}}}|[^/,_ =-]*[/,_ =-]|[^/,_ =-]+$", name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return lines


def legend(rows: Sequence[Row]) -> Markup:
    """Checkboxes that show or hide rows: in all charts, those traces whose `legendgroup` is the
    index of the row."""
    return render("legend.html", looks=looks(rows))
