"""The settings in which rows differ."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from hieraseg.comparison.rows import Row
from hieraseg.runs.identity import code_of, data_of, digest_of, settings_in

CODE, DATA = "code", "data digest"
"""Settings of rows that ran other code, or read other files of a data set with equal settings."""

Settings = Mapping[str, str]


def with_settings(rows: Sequence[Row]) -> list[Row]:
    """The rows with the settings in which they differ; CODE and DATA are short digests."""
    first = [row.runs[0] for row in rows]
    settings = [settings_in(run.recipe, run.provenance) for run in first]
    keys = differing(settings)
    code = _digests([code_of(run.provenance) for run in first])
    data = _digests([_data(data_of(r.provenance), s) for r, s in zip(first, settings, strict=True)])
    return [
        replace(
            row,
            settings={key: one[key] for key in keys if key in one}
            | ({CODE: c} if c else {})
            | ({DATA: d} if d else {}),
        )
        for row, one, c, d in zip(rows, settings, code, data, strict=True)
    ]


def differing(settings: Sequence[Settings]) -> list[str]:
    """Keys whose values differ, by section.

    Arguments are compared between rows with the same component. A row may lack a component, such as
    a second transform; other keys that it lacks are of another version of hieraseg.
    """
    keys = dict.fromkeys(key for one in settings for key in one)
    components = {key for key in keys if "." not in key or key.endswith("]")}
    values: dict[tuple[str, ...], set[str | None]] = {}
    for one in settings:
        for key in components | one.keys():
            values.setdefault((key, *_components_above(key, one)), set()).add(one.get(key))
    return by_section({key for (key, *_), distinct in values.items() if len(distinct) > 1}, keys)


def by_section(keys: Collection[str], order: Iterable[str]) -> list[str]:
    """Keys in an order in which those of a section follow each other."""
    order = dict.fromkeys(order)
    sections = list(dict.fromkeys(map(_section, order)))
    kept = [key for key in order if key in keys]
    return sorted(kept, key=lambda key: sections.index(_section(key)))


def _section(key: str) -> str:
    return key.partition(".")[0].partition("[")[0]


def _components_above(key: str, settings: Settings) -> list[str]:
    """Names of the components that a key is inside of, outermost first."""
    parts = key.split(".")
    above = (".".join(parts[:length]) for length in range(1, len(parts)))
    return [settings[one] for one in above if one in settings]


def _data(digests: Settings, settings: Settings) -> dict[str, str]:
    """Digests of data by split and the settings that the data depend on."""
    chosen = {key: text for key, text in settings.items() if _section(key) in ("data", "init")}
    return {f"{split} {digest_of(chosen)}": digest for split, digest in digests.items()}


def _digests(parts: Sequence[Settings]) -> list[str]:
    """A short digest per row of those parts that differ between rows; empty if it has none."""
    values: dict[str, set[str]] = {}
    for one in parts:
        for key, value in one.items():
            values.setdefault(key, set()).add(value)
    differing = {key for key, distinct in values.items() if len(distinct) > 1}
    shown = [{key: value for key, value in one.items() if key in differing} for one in parts]
    return [digest_of(one)[:6] if one else "" for one in shown]
