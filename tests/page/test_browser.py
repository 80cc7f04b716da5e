"""The page of a comparison in a real browser, without a network."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from hieraseg.comparison.comparison import Comparison
from hieraseg.page.write import write_page
from tests.support.browser import chromium

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 740}
SECTIONS = [
    *("answer", "compared", "table", "classes", "tree"),
    *("curves", "confusion", "reliability", "pictures"),
]


class Opened(NamedTuple):
    """The page, what it has requested, and what it has written to the console."""

    page: Page
    requests: list[str]
    messages: list[str]


@pytest.fixture(scope="module")
def opened(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The page of the study with four images. It starts in light colors."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, comparison, images=4)
    with chromium() as browser:
        context = browser.new_context(viewport=WIDE, color_scheme="light", offline=True)
        page = context.new_page()
        found = Opened(page, [], [])
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("console", lambda message: found.messages.append(message.text))
        page.on("pageerror", lambda error: found.messages.append(str(error)))
        page.goto(path.as_uri())
        yield found


@pytest.fixture
def page(opened: Opened) -> Page:
    """The page in light colors on a wide screen."""
    opened.page.set_viewport_size(WIDE)
    return opened.page


def pixels(page: Page) -> list[str]:
    """What the canvases of the pictures show: the target's, then those of the rows."""
    read = "canvases => canvases.map(one => one.toDataURL())"
    found: list[str] = page.locator("#pictures canvas").evaluate_all(read)
    return found


def test_sections_are_there(page: Page) -> None:
    ids = page.locator("main > section").evaluate_all("all => all.map(one => one.id)")
    assert ids == SECTIONS
    links = page.locator("nav a").evaluate_all("all => all.map(one => one.hash.slice(1))")
    assert links == ids
    for id in ids:
        page.locator(f"#{id}").scroll_into_view_if_needed()
        expect(page.locator(f"#{id} .missing")).to_have_count(0)
    # Each chart is drawn as soon as it is seen.
    for chart in page.locator(".chart:visible").all():
        chart.scroll_into_view_if_needed()
        expect(chart.locator("svg").first).to_be_visible()


def test_charts_cannot_be_uploaded(page: Page) -> None:
    """Plotly 7 has a button for it, with which unpublished results would leave the machine."""
    buttons = page.locator(".modebar-btn").evaluate_all(
        "all => all.map(one => one.dataset.title || one.ariaLabel || '')"
    )
    assert any("Download" in name for name in buttons)
    assert not [name for name in buttons if re.search("share|cloud|edit", name, re.IGNORECASE)]


def test_the_table_sorts_by_click_and_by_key(page: Page) -> None:
    heading = page.locator("table.sortable th", has_text="mIoU L3")
    column = heading.evaluate("one => one.cellIndex")
    cells = page.locator(f"table.sortable tbody tr > :nth-child({column + 1})")

    def values() -> list[float]:
        return [float(cell.get_attribute("data-value") or "nan") for cell in cells.all()]

    heading.locator("button").click()
    assert values() == sorted(values(), reverse=True)
    expect(heading).to_have_attribute("aria-sort", "descending")
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert values() == sorted(values())
    assert len(set(values())) > 1
    expect(heading).to_have_attribute("aria-sort", "ascending")


def test_pictures_switch_image_level_and_view(page: Page) -> None:
    pictures = page.locator("#pictures")
    shown = [pixels(page)]

    def changed() -> list[str]:
        """The canvases, as soon as one has changed."""
        page.wait_for_function(
            "old => [...document.querySelectorAll('#pictures canvas')]"
            ".some((one, index) => one.toDataURL() !== old[index])",
            arg=shown[-1],
        )
        shown.append(pixels(page))
        return shown[-1]

    target, *rows = shown[0]
    assert len(rows) == 3
    pictures.locator('[name="pictures-level"][value="0"]').check()
    assert changed()[0] != target
    expect(pictures.locator("figure").nth(1)).to_contain_text("level 1")
    # Radio buttons of a group are chosen with the arrow keys.
    pictures.locator('[name="pictures-image"]:checked').focus()
    before = pictures.locator("figure").first.inner_text()
    page.keyboard.press("ArrowRight")
    changed()
    assert pictures.locator("figure").first.inner_text() != before
    pictures.locator('[name="pictures-level"][value="2"]').check()
    classes = changed()
    pictures.locator('[name="pictures-view"][value="errors"]').check()
    errors = changed()
    assert errors[0] == classes[0]  # the target has none
    expect(pictures.locator("figure").nth(2)).to_contain_text("wrong")
    pictures.locator("select").select_option("0")
    changed()
    expect(pictures.locator(".legend")).to_contain_text("wrong in both")
    expect(pictures.locator("figure").nth(3)).to_contain_text("right only here")


def test_pointing_names_the_classes_of_a_pixel(page: Page) -> None:
    canvas = page.locator("#pictures canvas").first
    canvas.scroll_into_view_if_needed()
    canvas.hover()
    expect(page.locator("#pictures .pointed").first).not_to_be_empty()
    names = page.locator("#pictures .pointed").all_inner_texts()
    assert len(names) == 4
    assert all(names)


def test_the_tree_switches_rows_and_colors(page: Page) -> None:
    tree = page.locator("#tree")

    def text() -> str:
        chart = tree.locator(".chart:visible")
        chart.scroll_into_view_if_needed()
        expect(chart.locator("svg .slicetext").last).to_be_visible()
        return "".join(chart.locator("svg .slicetext").all_text_contents())

    first = text()
    assert "head" in first
    tree.locator('[data-key="recipe"]').select_option("1")
    other = text()
    assert other != first
    tree.get_by_label("difference", exact=True).check()
    assert "[" in text()  # an interval


COLORS = """() => {
  const opaque = (one) => {
    for (; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!color.endsWith(", 0)")) return color;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const found = {};
  for (const one of document.querySelectorAll("body *:not(svg *, script, style, [aria-hidden])")) {
    const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (text && one.checkVisibility()) {
      found[getComputedStyle(one).color + " on " + opaque(one)] = one.outerHTML.slice(0, 120);
    }
  }
  for (const one of document.querySelectorAll(".xtick text, .ytick text")) {
    found[getComputedStyle(one).fill + " on " + opaque(one)] = one.textContent;
  }
  return found;
}"""
"""The colors of all text on the page, with their backgrounds, and an example of each."""


def luminance(color: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG 2 defines it."""
    shares = [int(part) / 255 for part in color.strip("rgba()").split(",")[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def check_contrast(page: Page) -> None:
    """Check that the contrast of all text is that of WCAG 2, level AA."""
    for colors, example in page.evaluate(COLORS).items():
        light, dark = sorted(map(luminance, colors.split(" on ")), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (colors, example)


def test_dark_light_print_and_narrow(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    check_contrast(page)
    page.locator("#theme").click()
    dark = page.evaluate(background)
    assert dark != light == "rgb(255, 255, 255)"
    check_contrast(page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate(background) == light
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("#pictures .controls")).to_be_hidden()
    expect(page.locator("#pictures canvas").first).to_be_visible()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(background) == dark
    page.locator("#theme").click()
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_controls_have_names_and_images_a_text(page: Page) -> None:
    nameless = page.locator("input, select, button").evaluate_all(
        "all => all.filter(one => !one.labels?.length && !one.ariaLabel && !one.textContent.trim())"
        ".map(one => one.outerHTML)"
    )
    assert nameless == []
    missing = "canvas:not([aria-label]), img:not([alt]), .chart:not([aria-label])"
    expect(page.locator(missing)).to_have_count(0)


def test_nothing_was_requested_and_nothing_went_wrong(opened: Opened) -> None:
    requests = [url for url in opened.requests if not url.startswith(("data:", "blob:"))]
    assert requests == [opened.page.url]
    assert opened.messages == []
