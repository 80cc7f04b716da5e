"""Panels of which the reader chooses one."""

import re

from markupsafe import Markup

from hieraseg.page.panels import Panel, switched


def panels_of(choices: list[dict[str, str]]) -> list[Panel]:
    return [Panel(choice, Markup(f"[{' '.join(choice.values())}]")) for choice in choices]


def shown(html: str) -> list[str]:
    """Content of the panels that are not hidden at first."""
    parts = re.findall(r'<div class="panel([^"]*)".*?</p>\s*(.*?)\s*</div>', html, re.DOTALL)
    return [content for hidden, content in parts if not hidden]


def test_the_first_options_are_shown_unless_others_are_named() -> None:
    panels = panels_of([{"level": level, "recipe": name} for name in "ab" for level in "12"])
    assert shown(switched("x", panels)) == ["[1 a]"]
    assert shown(switched("x", panels, {"level": "2"})) == ["[2 a]"]
    assert shown(switched("x", panels, {"level": "2", "recipe": "b"})) == ["[2 b]"]


def test_one_option_needs_no_control() -> None:
    html = switched("x", panels_of([{"level": "1", "recipe": name} for name in "ab"]))
    assert re.findall(r'data-key="(\w+)"', html) == ["recipe", "recipe"]


def test_long_options_are_a_list() -> None:
    html = switched("x", panels_of([{"recipe": letter * 40} for letter in "ab"]))
    assert "<select" in html
    assert "<select" not in switched("x", panels_of([{"recipe": "a"}, {"recipe": "b"}]))


def test_a_choice_without_a_panel_says_so() -> None:
    choices = [{"level": "1", "recipe": "a"}, {"level": "2", "recipe": "b"}]
    html = switched("x", panels_of(choices), {"level": "2"})
    assert shown(html) == ['<p class="missing">There is nothing to show for this choice.</p>']
