"""Curves of a run."""

import numpy as np
import pytest

from hieraseg.visualize.curves import draw_curves

Record = dict[str, object]


def record(epoch: int, loss: float, *miou: float | None) -> Record:
    levels = [{"level": level, "miou": value} for level, value in enumerate(miou, 1)]
    return {"epoch": epoch, "loss": loss, "val": {"levels": levels}}


@pytest.mark.parametrize(
    "records",
    [
        [record(1, 2.0, 0.5, 0.25)],
        [record(1, 2.0, 0.5, None), record(2, 1.0, 0.6, None)],
        [record(1, 2.0, None, None)],
    ],
)
def test_curves_of_few_epochs_and_undefined_scores(records: list[Record]) -> None:
    figure = draw_curves(records)
    assert figure.size == (1000, 400)


def test_curves_show_the_records() -> None:
    first, second = (
        np.asarray(draw_curves([record(1, 2.0, 0.5, 0.25), record(2, loss, 0.6, miou)]))
        for loss, miou in ((1.0, 0.3), (1.0, 0.9))
    )
    changed = np.flatnonzero((first != second).any(axis=(0, 2)))
    assert changed.min() > 500, "only the right half, with the scores, differs"


def test_validations_between_epochs_and_their_loss_are_shown() -> None:
    first, second = record(1, 2.0, 0.5), record(2, 1.0, 0.6)
    shown = np.asarray(draw_curves([first, second]))
    between = np.asarray(draw_curves([{**first, "passes": 0.5}, second]))
    assert (shown != between).any()
    loss = {"val": {**second["val"], "loss": 1.5}}  # type: ignore[dict-item]
    changed = np.flatnonzero((shown != draw_curves([first, {**second, **loss}])).any(axis=(0, 2)))
    assert changed.max() < 500, "only the left half, with the losses, differs"


@pytest.mark.parametrize("scale", [1e-8, 0.004, 0.15, 9.9, 777.0, -8888.0, 3e9])
def test_labels_are_not_cut(scale: float) -> None:
    figure = np.asarray(draw_curves([record(1, scale, 0.5), record(2, scale / 1.7, 0.6)]))
    edges = [figure[:4], figure[-4:], figure[:, :4], figure[:, -4:]]
    assert all((edge == 255).all() for edge in edges)


def test_no_global_state_is_used() -> None:
    """A display or a user's own pyplot figures are neither needed nor changed."""
    import matplotlib.pyplot as plt

    draw_curves([record(1, 2.0, 0.5)])
    assert plt.get_fignums() == []
