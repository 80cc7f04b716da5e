"""Curves of a run."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image


def draw_curves(records: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Draw the losses, and the mIoU of each level on the validation split, over the epochs.

    Args:
        records: one per validation, as in `metrics.jsonl`.
    """
    # Not above: takes a while. Without pyplot, which has a global state and may need a display.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [record.get("passes", record["epoch"]) for record in records]
    # The constrained layout would take longer than all else, so labels have to fit the margins.
    figure = Figure(figsize=(10, 4), dpi=100)
    margins = {"left": 0.07, "right": 0.98, "bottom": 0.13, "top": 0.92, "wspace": 0.15}
    losses, scores = figure.subplots(1, 2, gridspec_kw=margins)
    losses.plot(epochs, [record["loss"] for record in records], marker=".", label="training")
    losses.set_title("training loss")
    if any(record["val"].get("loss") is not None for record in records):
        values = _numbers(record["val"].get("loss") for record in records)
        losses.plot(epochs, values, marker=".", label="validation")
        losses.set_title("loss")
        losses.legend()
    for index, level in enumerate(records[0]["val"]["levels"]):
        values = _numbers(record["val"]["levels"][index]["miou"] for record in records)
        scores.plot(epochs, values, marker=".", label=f"level {level['level']}")
    scores.set_title("mIoU, validation split")
    scores.set_ylim(0, 1)
    scores.legend()
    for axes in (losses, scores):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    losses.ticklabel_format(axis="y", scilimits=(-2, 4))
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content)


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
