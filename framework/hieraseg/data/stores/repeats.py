"""Drawing images with rare classes more often."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from hieraseg.console import log, warn
from hieraseg.data.stores.labels import labels_in
from hieraseg.data.stores.store import Store
from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.settings import Input

_KEY = "training.repeat_threshold"


@dataclass(frozen=True)
class Repeats:
    """How often images are drawn, by their rarest class.

    With f the share of the images that have a class, the repeat factor of the class is
    `max(1, sqrt(threshold / f))`, and that of an image the largest among its classes (Gupta et al.
    2019, "LVIS", arXiv:1908.03195).

    Attributes:
        factors: repeat factor of each image, at least 1.
        rarest: index of the class that the fewest images have; None if no image has any.
        share: share of the images that have it.
        drawn: share of the images that are drawn that have it.
    """

    factors: Float[np.ndarray, " images"]
    rarest: int | None
    share: float
    drawn: float


def repeats(
    classes: Int[np.ndarray, "pairs 2"], images: int, num_classes: int, threshold: float
) -> Repeats:
    """Repeat factors of images.

    Args:
        classes: row and class of each class that an image has, once per image.
        images: number of images.
        num_classes: number of classes.
        threshold: share of the images below which a class is rare.
    """
    rows, indices = classes.T
    shares = np.bincount(indices, minlength=num_classes) / images
    factors = np.ones(images)
    np.maximum.at(factors, rows, np.sqrt(threshold / shares[indices]))
    if not len(classes):
        return Repeats(factors, None, 0.0, 0.0)
    rarest = int(np.where(shares > 0, shares, np.inf).argmin())
    drawn = factors[rows[indices == rarest]].sum() / factors.sum()
    return Repeats(factors, rarest, float(shares[rarest]), float(drawn))


def repeat_rare(store: Store, hierarchy: Hierarchy, settings: Input, threshold: float) -> Store:
    """The store of the training split, of which images with rare classes are drawn more often.

    Classes are those of the finest level, without background.

    Args:
        store: the store, whose images are all drawn equally often.
        hierarchy: the class tree.
        settings: how its masks were resized.
        threshold: see `settings.Training.repeat_threshold`.

    Raises:
        DataError: masks that cannot be read, or a cache that cannot be written.
    """
    classes = _classes_in(labels_in(store, "train", settings), hierarchy)
    found = repeats(classes, len(store), hierarchy.num_classes[-1], threshold)
    if found.rarest is None:
        warn(f"{_KEY}: has no effect, since no image has a class other than background")
        return store
    name = hierarchy.level_names[-1][found.rarest]
    if found.factors.max() == 1:
        warn(
            f"{_KEY}: {threshold:g} has no effect, since {name!r}, the rarest class, is in "
            f"{found.share:.2%} of the images; set it to more than that, or to null"
        )
        return store
    log(
        f"images are drawn up to {found.factors.max():.2f} times as often as others: those with "
        f"{name!r}, the rarest class, are {found.drawn:.2%} of the images drawn instead of "
        f"{found.share:.2%} ({_KEY})"
    )
    return replace(store, repeats=found.factors)


def _classes_in(
    labels: Int[np.ndarray, "pairs 2"], hierarchy: Hierarchy
) -> Int[np.ndarray, "classes 2"]:
    """Row and class of each class that a mask has, once per mask, from its labels."""
    values = torch.from_numpy(labels[:, 1]).view(1, 1, -1)
    classes = hierarchy.encode(values, check=False)[0, -1, 0].numpy()
    background = hierarchy.background_index(hierarchy.num_levels - 1)
    chosen = (classes != IGNORE_INDEX) & (classes != (-1 if background is None else background))
    return np.unique(np.column_stack([labels[chosen, 0], classes[chosen]]), axis=0)
