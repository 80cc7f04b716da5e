"""Pictures of confusion matrices."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from PIL import Image

_WRITTEN = 12  # classes of the largest matrix whose cells hold numbers
_BRIGHT = 0.45  # above this share, black has more contrast to the color than white
_LONGEST = 24  # characters of a name


def draw_confusion(matrix: Int[np.ndarray, "C C"], names: Sequence[str], title: str) -> Image.Image:
    """Draw which share of the pixels of each target class is predicted as each class.

    Args:
        matrix: pixels by target class (row) and predicted class (column).
        names: names of the classes.
        title: what it is of.
    """
    # Not above: takes a while. Without pyplot, which has a global state and may need a display.
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    total = matrix.sum(axis=1, keepdims=True)
    share = np.where(total > 0, matrix / np.maximum(total, 1), np.nan)
    size = 4 + 0.3 * len(names)
    figure = Figure(figsize=(size + 1, size), dpi=80, layout="constrained")
    axes = figure.subplots()
    # By the square root, so that confusions of a few percent are seen.
    shown = axes.imshow(share, cmap="cividis", norm=PowerNorm(0.5, 0, 1))
    short = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..." for name in names]
    axes.set_xticks(range(len(names)), short, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), short, fontsize=8)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("target class (white: no pixel)")
    axes.set_title(title)
    if len(names) <= _WRITTEN:
        for row, column in np.argwhere(~np.isnan(share)):
            value = share[row, column]
            color = "black" if value > _BRIGHT else "white"
            text = f"{100 * value:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    figure.colorbar(shown, ax=axes, label="share of the pixels of the target class", shrink=0.7)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content).convert("RGB")
