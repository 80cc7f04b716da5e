"""Fonts: a name is drawn by one that has its characters, or not at all."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from fontTools.ttLib import TTFont
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib import font_manager

from hieraseg.visualize.fonts import default_font, find_fonts

DEJAVU = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")


@pytest.fixture(autouse=True)
def _no_installed_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is found must not depend on the machine."""
    find_fonts.cache_clear()
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    yield
    find_fonts.cache_clear()


@pytest.fixture(scope="module")
def characters() -> set[int]:
    return set(TTFont(DEJAVU).getBestCmap())


def family(text: str) -> str | None:
    font = find_fonts((text,)).get(text)
    return None if font is None else font.getname()[0]


def test_ascii_needs_no_other_font() -> None:
    assert set(find_fonts(("left arm", "[bold]", "a_b-1")).values()) == {default_font()}


@pytest.mark.parametrize("name", ["Straße", "тело", "πόδι", "رأس", "a → b"])
def test_other_scripts_are_drawn_in_a_font_that_has_them(name: str) -> None:
    assert family(name) == "DejaVu Sans"


@pytest.mark.parametrize(
    "name", ["身体", "हाथ", "머리", "arm 身", "a\nb", "a\0", "\ud800", "\U0010ffff"]
)
def test_a_name_that_no_font_has_is_left_out(name: str) -> None:
    """It would be drawn as boxes, or not at all."""
    assert find_fonts(("arm", name)).keys() == {"arm"}


def test_an_installed_font_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Damaged.ttf").write_bytes(b"no font")
    installed = [str(tmp_path / "Damaged.ttf"), str(DEJAVU.with_name("STIXGeneral.ttf"))]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: installed)
    assert family("\u231a") == "STIXGeneral"


@given(st.characters(exclude_categories=["C", "Z"]))
@example("é")
@example("身")
@settings(max_examples=20)
def test_only_characters_that_a_font_has_are_drawn(characters: set[int], char: str) -> None:
    """The oracle is the table of characters of the font file, read by fontTools."""
    expected = "DejaVu Sans" if ord(char) in characters else None
    assert family(char) == ("Aileron" if char.isascii() else expected)
