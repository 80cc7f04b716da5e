"""Section: what is compared."""

from collections.abc import Iterator

from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.protocol import protocol_of
from hieraseg.page.looks import with_looks
from hieraseg.page.sections import Section, render

_SCORED = {
    "resolution": "resolution of scores",
    "resize": "resizing",
    "size": "input size",
    "tta": "test-time augmentation",
    "checkpoint": "checkpoint",
    "background": "class left out of mIoU",
    "data": "data (sha256)",
}


def section(comparison: Comparison) -> Section:
    """Split, protocol, seeds, notes and run folders."""
    html = render(
        "summary.html",
        facts=dict(_facts(comparison)),
        notes=comparison.notes,
        runs=[(look, run) for row, look in with_looks(comparison.rows) for run in row.runs],
    )
    return Section("compared", "What is compared", html)


def lead(comparison: Comparison) -> str:
    """What is compared, in a line."""
    recipes, runs = len(comparison.rows), sum(len(row.runs) for row in comparison.rows)
    facts = dict(_facts(comparison))
    parts = [_number(recipes, "recipe"), _number(runs, "run")]
    if "images" in facts:
        parts.append(f"{facts['images']} images of split {comparison.split}")
    return ", ".join(parts)


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _facts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    rows = comparison.rows
    scores = [one for row in rows for one in row.scores]
    yield "split", comparison.split
    if images := {str(one["images"]) for one in scores if "images" in one}:
        yield "images", " | ".join(sorted(images))
    seeds = sorted({seed for row in rows for seed in row.seeds})
    yield "seeds", ", ".join(map(str, seeds))
    if comparison.baseline:
        yield "baseline", comparison.baseline.title
    protocols = [protocol_of(one) for one in scores]
    for key, title in _SCORED.items():
        values = dict.fromkeys(one[key] for one in protocols if key in one)
        shown = [value[:12] if key == "data" else value for value in values]
        if shown:
            yield title, " | ".join(shown)
