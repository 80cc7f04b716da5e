"""Fonts for names in any script."""

import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
SIZE = 13  # in pixels
_UNDRAWABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: control characters, ends of lines
_INVISIBLE = {"Zs", "Cf"}  # spaces, and joiners of letters
_STYLES = ("bold", "black", "heavy", "light", "thin", "italic", "oblique", "mono")


@cache
def default_font() -> Font:
    """Pillow's font, which has few characters beside those of ASCII."""
    return ImageFont.load_default(SIZE)


@cache
def find_fonts(names: tuple[str, ...]) -> Mapping[str, Font]:
    """A font for each name that has all its characters; names without such a font are left out.

    ASCII is drawn in the default font. For other names, the DejaVu Sans that comes with matplotlib
    (European scripts, Arabic) and then all installed fonts are tried.
    """
    found = {name: default_font() for name in names if name.isascii() and name.isprintable()}
    missing = set(names) - found.keys()
    files = _font_files() if missing else iter(())
    while missing and (file := next(files, None)):
        characters = _characters(file)
        covered = {name for name in missing if _needed(name) <= characters}
        if covered:
            try:
                font = ImageFont.truetype(file, SIZE)
            except OSError:  # of bitmaps of another size
                continue
            found |= dict.fromkeys(covered, font)
            missing -= covered
    return found


def _font_files() -> Iterator[Path]:
    """All font files, upright ones of normal weight first."""
    import matplotlib  # not above: takes a while, and ASCII does not need it
    from matplotlib.font_manager import findSystemFonts

    yield Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    files = [Path(file) for file in findSystemFonts()]
    # The one called "last resort" has a box for every character.
    files = [file for file in files if "lastresort" not in file.name.lower()]
    yield from sorted(
        files, key=lambda file: (any(style in file.name.lower() for style in _STYLES), file)
    )


def _characters(file: Path) -> set[int]:
    """The code points that a font file has; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return set(FT2Font(str(file)).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return set()


def _needed(name: str) -> set[int]:
    """The code points that a font needs to draw a name; -1 if none can."""
    kinds = {char: unicodedata.category(char) for char in name}
    return {
        -1 if kind in _UNDRAWABLE else ord(char)
        for char, kind in kinds.items()
        if kind not in _INVISIBLE
    }
