"""A section of the page, and the templates that its HTML is written with."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: its anchor, which is unique on the page.
        title: its heading.
        html: its content, as `render` returns it.
        assets: files in `templates/` that it needs beside `page.css` and `page.js`: style sheets
            and scripts, which the page holds once.
    """

    id: str
    title: str
    html: Markup
    assets: tuple[str, ...] = ()


def render(template: str, **values: Any) -> Markup:
    """Fill in a template. All values but `Markup` are text, in which HTML is escaped.

    Args:
        template: name of a file in `templates/`.
        values: variables of the template.
    """
    return Markup(_environment().get_template(template).render(values))


def asset(name: str) -> str:
    """Content of a style sheet or a script in `templates/`."""
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("hieraseg.page"),
        autoescape=True,  # names of classes and runs can be anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
