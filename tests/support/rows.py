"""Rows of runs that were never trained, for tests of comparisons."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hieraseg.comparison.rows import Row
from hieraseg.runs.finished import FinishedRun

PROTOCOL = {"data": "d", "resolution": "native", "checkpoint": "best", "tta": "scales 1"}


def scores_of(*mious: float | None, **changes: Any) -> dict[str, Any]:
    """Scores of some levels, which have one class each."""
    levels = [
        {"level": number, "miou": miou, "iou": {"a": miou}} for number, miou in enumerate(mious, 1)
    ]
    return {"levels": levels, "coherence": None, **PROTOCOL, **changes}


def make_row(
    title: str,
    scores: Sequence[Mapping[str, Any]] = (scores_of(0.5),),
    *,
    seeds: Sequence[int] | None = None,
    cost: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Row:
    """A row with one run for each of the scores; other `fields` are those of `Row`."""
    numbers = range(len(scores)) if seeds is None else seeds
    runs = [
        FinishedRun(
            path=Path("runs") / f"{title}-seed{seed}",
            recipe=recipe or {},
            provenance=cast(Any, provenance or {}),
            key="val",
            identity=title,
            seed=seed,
            started="",
            scores=cast(Any, one),
            cost=cast(Any, cost or {}),
        )
        for seed, one in zip(numbers, scores, strict=True)
    ]
    return Row(title, tuple(runs), **fields)
