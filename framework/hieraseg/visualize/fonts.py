"""Fonts for names in any script."""

import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
SIZE = 13  # in pixels
_NONCHARACTER = "\U0010ffff"  # no font has it, so it is drawn as the box of missing characters
_NOT_TEXT = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: control characters, ends of lines
_INVISIBLE = {"Zs", "Cf"}  # spaces, and joiners of letters
_STYLES = ("bold", "black", "heavy", "light", "thin", "italic", "oblique", "mono")


@cache
def default_font() -> Font:
    """Pillow's font, which has the characters of English only."""
    return ImageFont.load_default(SIZE)


@cache
def find_fonts(texts: tuple[str, ...]) -> Mapping[str, Font]:
    """A font for each text that has all its characters; texts for which there is none are left out.

    Fonts are tried in this order: Pillow's, the DejaVu Sans that comes with matplotlib (European
    scripts, Arabic), all fonts that are installed.
    """
    found: dict[str, Font] = {}
    for font in _fonts():
        found |= {text: font for text in texts if text not in found and _has(font, text)}
        if found.keys() == set(texts):
            break
    return found


def _fonts() -> Iterator[Font]:
    """All fonts, opened one by one: there can be more than a process may open at a time."""
    yield default_font()
    import matplotlib  # not above: takes a while, and English names do not need it
    from matplotlib.font_manager import findSystemFonts

    yield ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), SIZE)
    for path in sorted(map(Path, findSystemFonts()), key=_preference):
        if "lastresort" in path.name.lower():  # has a box for every character
            continue
        try:
            yield ImageFont.truetype(path, SIZE)
        except OSError:  # damaged, or of bitmaps of another size
            continue


def _preference(path: Path) -> tuple[bool, str]:
    """Sorting key: upright fonts of normal weight first."""
    return any(style in path.name.lower() for style in _STYLES), str(path)


def _has(font: Font, text: str) -> bool:
    """Whether a font has all characters of a line of text."""
    kinds = {char: unicodedata.category(char) for char in text}
    if not _NOT_TEXT.isdisjoint(kinds.values()):
        return False
    box = bytes(font.getmask(_NONCHARACTER))
    masks = [font.getmask(char) for char, kind in kinds.items() if kind not in _INVISIBLE]
    return all(mask.getbbox() and bytes(mask) != box for mask in masks)
