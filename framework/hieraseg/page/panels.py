"""Panels of which the reader chooses one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from markupsafe import Markup

from hieraseg.page.sections import render

_BUTTONS = 60
"""Characters of options that are shown as radio buttons. Longer ones are shown as a list."""

_NOTHING = Markup('<p class="missing">There is nothing to show for this choice.</p>')


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
        panels: the panels, whose choices have the same keys in the same order.
        start: the options shown at first; by default the first ones.
    """
    options = {
        key: list(dict.fromkeys(panel.choice[key] for panel in panels)) for key in panels[0].choice
    }
    shown = {key: (start or {}).get(key, values[0]) for key, values in options.items()}
    known = [tuple(panel.choice.values()) for panel in panels]
    missing = [values for values in product(*options.values()) if values not in known]
    nothing = [Panel(dict(zip(options, values, strict=True)), _NOTHING) for values in missing]
    return render(
        "panels.html",
        name=name,
        options=options,
        shown=shown,
        as_buttons={key: sum(map(len, values)) <= _BUTTONS for key, values in options.items()},
        panels=[
            {
                "indices": {key: options[key].index(value) for key, value in panel.choice.items()},
                "hidden": [key for key, value in panel.choice.items() if value != shown[key]],
                "caption": ", ".join(f"{key} {value}" for key, value in panel.choice.items()),
                "html": panel.html,
            }
            for panel in (*panels, *nothing)
        ],
    )
