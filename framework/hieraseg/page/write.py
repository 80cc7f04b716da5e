"""Write the page of a comparison."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from markupsafe import Markup

from hieraseg.comparison.comparison import Comparison
from hieraseg.errors import RecipeError
from hieraseg.files.writing import replacing
from hieraseg.page.sections import Section, asset, render


def write_page(
    path: Path, comparison: Comparison, images: int = 8, run_plugins: bool = True
) -> None:
    """Write one HTML file that needs no other, and no network.

    Args:
        path: the file.
        comparison: what is shown.
        images: number of images whose predictions are shown.
        run_plugins: whether plugin files of run folders may be run, to predict them.

    Raises:
        RecipeError: plotly is not installed.
        WriteError: the file cannot be written.
    """
    if find_spec("plotly") is None:
        raise RecipeError("--html: the page needs plotly; `pip install plotly`")
    from hieraseg.page.summary import lead

    with replacing(path) as unfinished:  # one that cannot be written is found before predictions
        sections = list(_sections(comparison, images, run_plugins))
        text = page(f"Comparison on {comparison.split}", lead(comparison), sections)
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The HTML of a page.

    Args:
        title: its heading.
        lead: a line below it.
        sections: its sections, in order.
    """
    from plotly.offline import get_plotlyjs

    names = dict.fromkeys(name for section in sections for name in section.assets)
    styles = ["page.css", *(name for name in names if name.endswith(".css"))]
    scripts = ["page.js", *(name for name in names if name.endswith(".js"))]
    code = [get_plotlyjs(), *map(asset, scripts)]
    return render(
        "page.html",
        title=title,
        lead=lead,
        sections=sections,
        styles=[Markup(asset(name)) for name in styles],
        scripts=[Markup(script) for script in code],
        hashes=[_hash(script) for script in code],
    )


def _sections(comparison: Comparison, images: int, run_plugins: bool) -> Iterator[Section]:
    """The sections in the order in which they are read."""
    # Not above: they import plotly and torch.
    from hieraseg.page import (
        answers,
        curves,
        gains,
        matrices,
        pictures,
        reliability,
        summary,
        table,
        tree,
    )

    yield answers.section(comparison)
    yield summary.section(comparison)
    yield table.section(comparison)
    yield gains.section(comparison)
    yield tree.section(comparison)
    yield curves.section(comparison)
    yield matrices.section(comparison)
    yield reliability.section(comparison)
    yield pictures.section(comparison, images, run_plugins)


def _hash(script: str) -> str:
    """How a content security policy names a script that may run, so that no other one does."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
