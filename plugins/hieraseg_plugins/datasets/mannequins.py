"""Mannequins: drawn people with exact body-part masks, for use without any data at hand."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hieraseg_plugins.datasets.mannequin_picture import draw_picture

GENERATOR_VERSION = 1
SMALLEST_SIDE = 32


class Mannequins:
    """Seeded pictures of clothed, partly occluded people on cluttered backgrounds.

    Labels are those of the persons of Pascal-Part: 0 background, 1 low_hand (forearm and hand),
    2 torso (with the neck), 3 low_leg (shank and foot), 4 head (with hair and hat), 5 up_leg
    (thigh) and 6 up_hand (upper arm). Whatever stands in front of a person is background. A
    picture depends on the seed, its id and the size alone; other sizes of the same shape show
    the same scene.

    Args:
        size: height and width of the pictures in pixels, each at least 32.
        train_images: how many pictures the split `train` has.
        val_images: how many pictures the split `val` has.
        holdout_images: how many pictures the split `holdout` has.
        seed: which world of pictures is drawn; splits never share a picture.

    Raises:
        ValueError: a size is below 32, a count below 1 or the seed below 0.
    """

    splits = ("train", "val", "holdout")

    def __init__(
        self,
        size: tuple[int, int] = (128, 128),
        train_images: int = 600,
        val_images: int = 120,
        holdout_images: int = 120,
        seed: int = 0,
    ) -> None:
        if len(size) != 2 or min(size) < SMALLEST_SIDE:
            raise ValueError(
                f"size is {size}; give height and width of at least {SMALLEST_SIDE} pixels each."
            )
        counts = {"train": train_images, "val": val_images, "holdout": holdout_images}
        for split, count in counts.items():
            if count < 1:
                raise ValueError(f"{split}_images is {count}; give a number of at least 1.")
        if seed < 0:
            raise ValueError(f"seed is {seed}; give a number of at least 0.")
        self.size = (size[0], size[1])
        self._counts = counts
        self._seed = seed

    def ids(self, split: str) -> list[str]:
        """The ids of the pictures of a split, such as `train-00017`.

        Raises:
            ValueError: the split is unknown.
        """
        return [f"{split}-{index:05d}" for index in range(self._count(split))]

    def image(self, id: str) -> NDArray[np.uint8]:
        """The picture of an id, RGB, uint8 [H, W, 3].

        Raises:
            ValueError: the id is unknown.
        """
        return self._picture(id)[0].copy()

    def mask(self, id: str) -> NDArray[np.uint8]:
        """The label of each pixel of the picture of an id, 0..6, uint8 [H, W].

        Raises:
            ValueError: the id is unknown.
        """
        return self._picture(id)[1].copy()

    def fingerprint(self, split: str) -> str:
        """A string that changes whenever the pictures of a split would.

        Raises:
            ValueError: the split is unknown.
        """
        height, width = self.size
        return (
            f"mannequins-{GENERATOR_VERSION} {split} of {self._count(split)}, "
            f"{height}x{width}, seed {self._seed}"
        )

    def _count(self, split: str) -> int:
        if split not in self._counts:
            raise ValueError(
                f"There is no split {split!r}; choose one of {', '.join(self.splits)}."
            )
        return self._counts[split]

    def _picture(self, id: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        split, _, number = id.partition("-")
        index = int(number) if number.isdecimal() else -1
        if not 0 <= index < self._counts.get(split, 0) or id != f"{split}-{index:05d}":
            raise ValueError(
                f"There is no picture {id!r}; take an id from ids(split), such as 'train-00000'."
            )
        return _draw(self._seed, self.splits.index(split), index, self.size)


# Image and mask come from one drawing, and are asked for one after the other.
@lru_cache(maxsize=16)
def _draw(
    seed: int, split: int, index: int, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return draw_picture(np.random.default_rng([seed, split, index]), size)
