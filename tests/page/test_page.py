"""The page as one file: complete, self-contained, and safe whatever the names are."""

import base64
import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hieraseg.cli import tables
from hieraseg.compare import compare
from hieraseg.comparison.columns import main_columns
from hieraseg.comparison.comparison import Comparison
from hieraseg.errors import RecipeError, WriteError
from hieraseg.page import answers, curves, gains, matrices, reliability, summary, table, tree, write
from hieraseg.page.sections import Section
from hieraseg.page.write import page, write_page
from tests.support.figures import figures_in

CHARTS = (answers, summary, table, gains, tree, curves, matrices, reliability)


class Reader(HTMLParser):
    """Collects the tags of a page, and the text of the cells of its first tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.cell = []

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self.cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self.cell).split()))
            self.cell = None


def charts_of(comparison: Comparison) -> str:
    """The page without pictures."""
    sections = [module.section(comparison) for module in CHARTS]
    return page("Comparison", summary.lead(comparison), sections)


@pytest.fixture(scope="module")
def text(comparison: Comparison) -> str:
    return charts_of(comparison)


def test_it_names_no_other_file(text: str) -> None:
    for tag, attributes in Reader(text).tags:
        assert "src" not in attributes, tag
        assert tag not in ("link", "iframe", "object", "base")
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))


def test_only_its_own_scripts_may_run(text: str) -> None:
    policy = next(
        attributes["content"] or ""
        for tag, attributes in Reader(text).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert [f"'sha256-{one}'" for one in hashes] == re.findall(r"'sha256-[^']+'", policy)
    assert policy.startswith("default-src 'none'; form-action 'none'")  # nothing is sent, either
    assert not any(name.startswith("on") for _, found in Reader(text).tags for name in found)


def test_contents_lead_to_each_section(text: str) -> None:
    tags = Reader(text).tags
    sections = [attributes["id"] for tag, attributes in tags if tag == "section"]
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert links == ["#content", *(f"#{id}" for id in sections)]
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def cells_of(text: str, differences: bool) -> list[list[str]]:
    """The cells of the table of scores, with its heading, but without titles."""
    (header, *lines) = next(one for one in Reader(text).tables if "mIoU L1" in one[0])
    chosen = [i for i, title in enumerate(header) if title.startswith("difference") == differences]
    return [[line[i] for i in chosen if i > 0] for line in (header, *lines)]


def test_numbers_are_those_of_the_table(text: str, comparison: Comparison) -> None:
    """Scores come before the settings, which would push them off the screen."""
    order = ("seeds", "score", "setting", "cost")
    columns = [c for kind in order for c in main_columns(comparison.rows) if c.kind == kind]
    header, *expected = tables.as_table(comparison.rows, columns)
    assert cells_of(text, differences=False) == [header[1:], *(line[1:] for line in expected)]


def test_differences_are_shown_with_their_intervals(text: str, comparison: Comparison) -> None:
    header, *lines = cells_of(text, differences=True)
    assert header == ["difference L1", "difference L2", "difference L3"]
    for row, line in zip(comparison.rows, lines, strict=True):
        if row.title not in comparison.differences:
            assert line == ["-"] * 3
            continue
        for cell, one in zip(line, comparison.differences[row.title], strict=True):
            low, high = one.interval
            assert cell.startswith(f"{one.difference:+.3f} [{low:+.3f}, {high:+.3f}]")


def test_names_are_text_whatever_they_are(comparison: Comparison) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    baseline = comparison.rows[0]
    rows = [replace(row, title=f"{evil}{index}") for index, row in enumerate(comparison.rows)]
    settings = {evil: evil}
    rows[0] = replace(rows[0], settings=settings, runs=tuple(with_class(evil, baseline.runs)))
    (found, *_) = comparison.differences.values()
    changed = Comparison(evil, rows, rows[0], {rows[1].title: found}, {}, [evil])
    text = charts_of(changed)
    assert "<img" not in text.lower().replace(b"<img src=x onerror=alert(1)>".hex(), "")
    assert [attributes for tag, attributes in Reader(text).tags if tag == "img"] == []
    assert "<script>alert" not in text


def with_class(name: str, runs: Any) -> list[Any]:
    """The runs with another name for the first class of each level."""
    changed = []
    for run in runs:
        levels = [
            {**level, "iou": {name: 0.5, **dict(list(level["iou"].items())[1:])}}
            for level in run.scores["levels"]
        ]
        changed.append(replace(run, scores={**run.scores, "levels": levels}))
    return changed


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "missing": lambda file: file.unlink(),
    "damaged": lambda file: file.write_bytes(b"{" + file.read_bytes()[:50]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_runs_without_records_cost_their_charts_alone(
    damage: str, study: Path, tmp_path: Path
) -> None:
    shutil.copytree(study, tmp_path / "runs")
    for name in ("metrics.jsonl", "evaluation/val.npz"):
        for file in (tmp_path / "runs").glob(f"*/*/{name}"):
            DAMAGES[damage](file)
    comparison = compare([tmp_path / "runs"])
    for module in (curves, matrices, reliability):
        html = module.section(comparison).html
        assert 'class="missing"' in html, module
        assert not figures_in(html)
    assert len(figures_in(answers.section(comparison).html)) == 3


@pytest.fixture
def one_section(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the sections of the page."""

    def replaced(sections: Callable[..., Any]) -> None:
        monkeypatch.setattr(write, "_sections", sections)

    return replaced


def test_it_is_written_whole_or_not_at_all(
    comparison: Comparison, tmp_path: Path, one_section: Callable[..., None]
) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def fail(*_: Any) -> list[Section]:
        raise RecipeError("stopped")

    one_section(fail)
    with pytest.raises(RecipeError, match="stopped"):
        write_page(path, comparison)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_found_first(
    comparison: Comparison, tmp_path: Path, one_section: Callable[..., None]
) -> None:
    one_section(lambda *_: pytest.fail("no prediction before"))
    with pytest.raises(WriteError, match=r"missing/page\.html: cannot be written"):
        write_page(tmp_path / "missing/page.html", comparison)


def test_without_plotly(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "find_spec", lambda _: None)
    with pytest.raises(RecipeError, match="pip install plotly"):
        write_page(tmp_path / "page.html", comparison)
    assert not list(tmp_path.iterdir())
