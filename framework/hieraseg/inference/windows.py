"""Prediction in sliding windows, row by row of windows."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from hieraseg.contracts import Prediction


def window_slices(side: int, window: int, overlap: float) -> list[slice]:
    """Positions of the windows along a side. All have the same size; the last ends at the edge."""
    step = max(round(window * (1 - overlap)), 1)
    starts = [*range(0, side - window, step), max(side - window, 0)]
    return [slice(start, min(start + window, side)) for start in starts]


def blending_weights(windows: Sequence[slice]) -> list[Float[Tensor, " window"]]:
    """The weight of each window at its pixels along a side, positive and in sum 1 at each pixel.

    Where neighbors overlap, the weight of one falls in steps of equal size while that of the other
    rises, so that no seam is seen at the border of a window. Where a window is alone, and at the
    edges of the image, it has all the weight.
    """
    ramps = []
    for index, window in enumerate(windows):
        position = torch.arange(window.start, window.stop, dtype=torch.float64) + 0.5
        ramp = torch.ones_like(position)
        if index and windows[index - 1].stop > window.start:
            overlap = windows[index - 1].stop - window.start
            ramp = torch.minimum(ramp, (position - window.start) / overlap)
        if index + 1 < len(windows) and window.stop > windows[index + 1].start:
            overlap = window.stop - windows[index + 1].start
            ramp = torch.minimum(ramp, (window.stop - position) / overlap)
        ramps.append(ramp)
    total = torch.zeros(windows[-1].stop, dtype=torch.float64)
    for window, ramp in zip(windows, ramps, strict=True):
        total[window] += ramp
    return [ramp / total[window] for window, ramp in zip(windows, ramps, strict=True)]


def slide(
    predict: Callable[[Sequence[Shaped[Tensor, "1 3 _ _"]]], list[Prediction]],
    read: Callable[[slice], Shaped[Tensor, "1 3 _ W"]],
    size: tuple[int, int],
    window: tuple[int, int],
    overlap: float,
) -> Iterator[Prediction]:
    """Predict an image in sliding windows, and yield the blended logits of rows when they are done.

    Memory holds the logits of as many rows as a window has, whatever the height of the image.

    Args:
        predict: images as `read` gives them -> predictions.
        read: rows of the image.
        size: height and width of the image.
        window: height and width of the window; an image that is smaller is its own window.
        overlap: overlap of neighboring windows, relative to the window size, in [0, 1).

    Yields:
        Logits `[1, C_l, rows, W]` of the rows that follow those before.
    """
    rows, columns = (window_slices(*side, overlap) for side in zip(size, window, strict=True))
    row_weights, column_weights = blending_weights(rows), blending_weights(columns)
    total: list[Tensor] = []  # logits of the rows from `row.start` on
    for index, row in enumerate(rows):
        pixels, height = read(row), row.stop - row.start
        total = [_moved(level, height) for level in total]
        for column, weights in zip(columns, column_weights, strict=True):
            # No name is given to logits, which would keep them while the next ones are predicted.
            both = row_weights[index], weights
            total = _added(total, predict([pixels[..., column]])[0], both, column, size[1])
        done = (rows[index + 1].start if index + 1 < len(rows) else size[0]) - row.start
        yield Prediction(tuple(level[..., :done, :] for level in total))
        total = [level[..., done:, :] for level in total]


def _moved(rows: Float[Tensor, "1 C _ W"], height: int) -> Float[Tensor, "1 C _ W"]:
    """The rows that the next windows overlap, followed by zeros."""
    moved = rows.new_zeros(*rows.shape[:2], height, rows.shape[3])
    moved[..., : rows.shape[2], :] = rows
    return moved


def _added(
    total: list[Tensor],
    prediction: Prediction,
    weights: tuple[Float[Tensor, " h"], Float[Tensor, " w"]],
    column: slice,
    width: int,
) -> list[Tensor]:
    """Add the weighted logits of a window; the first one of an image makes the tensors."""
    # Small enough to be copied without waiting for the device.
    rows, columns = (one.to(prediction.logits[0].device, non_blocking=True) for one in weights)
    weight = rows[:, None] * columns
    if not total:
        total = [level.new_zeros(*level.shape[:2], len(rows), width) for level in prediction.logits]
    for level, logits in zip(total, prediction.logits, strict=True):
        level[..., column] += logits * weight.to(logits)
    return total
