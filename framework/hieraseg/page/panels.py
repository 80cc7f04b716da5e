"""Panels of which the reader chooses one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hieraseg.page.sections import render

_BUTTONS = 60
"""Characters of options that are shown as radio buttons. Longer ones are shown as a list."""


@dataclass(frozen=True)
class Panel:
    """One of several panels.

    Attributes:
        choice: the options that show it, as in `{"level": "3", "recipe": "flat"}`.
        html: its content.
    """

    choice: Mapping[str, str]
    html: Markup


def switched(name: str, panels: Sequence[Panel], start: Mapping[str, str] | None = None) -> Markup:
    """Panels, and a control for each key of their choices. Printing shows those of all levels.

    Args:
        name: unique on the page.
        panels: the panels, which all have the same keys.
        start: the options shown at first; by default the first ones.
    """
    options: dict[str, list[str]] = {key: [] for key in panels[0].choice}
    for panel in panels:
        for key, option in panel.choice.items():
            if option not in options[key]:
                options[key].append(option)
    as_buttons = {key: sum(map(len, values)) <= _BUTTONS for key, values in options.items()}
    shown = {key: (start or {}).get(key, values[0]) for key, values in options.items()}
    return render(
        "panels.html",
        name=name,
        options=options,
        shown=shown,
        as_buttons=as_buttons,
        panels=[
            {
                "indices": {key: options[key].index(value) for key, value in panel.choice.items()},
                "hidden": [key for key, value in panel.choice.items() if value != shown[key]],
                "caption": ", ".join(f"{key} {value}" for key, value in panel.choice.items()),
                "html": panel.html,
            }
            for panel in panels
        ],
    )
