"""Mannequins: drawn people with exact body-part masks, for use without any data at hand."""

from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from hieraseg.types import NonNegativeInt, PositiveInt, Range, check_arguments
from hieraseg_plugins.datasets.mannequin_picture import draw_picture

GENERATOR_VERSION = 1
_LABELS = ("background", "low_hand", "torso", "low_leg", "head", "up_leg", "up_hand")
Side = Annotated[int, Range(ge=32)]


@check_arguments
class Mannequins:
    """Drawn images of clothed, partly occluded people on cluttered backgrounds.

    The labels are those of Pascal-Part's persons: 0 background, 1 low_hand (forearm and hand),
    2 torso (with the neck), 3 low_leg (shank and foot), 4 head (with hair and hat), 5 up_leg
    (thigh) and 6 up_hand (upper arm). Anything in front of a person is background. An image
    depends only on the seed, its id and the size. Sizes of the same aspect ratio show the same
    scene.

    Args:
        image_size: height and width of the images in pixels, each at least 32.
        train_images: number of images in the split `train`.
        val_images: number of images in the split `val`.
        holdout_images: number of images in the split `holdout`.
        seed: seed of the drawings. Splits of one seed never share an image.

    Raises:
        ValueError: an argument is out of range.
    """

    splits = ("train", "val", "holdout")
    label_names: ClassVar[dict[int, str]] = dict(enumerate(_LABELS))

    def __init__(
        self,
        image_size: tuple[Side, Side] = (128, 128),
        train_images: PositiveInt = 600,
        val_images: PositiveInt = 120,
        holdout_images: PositiveInt = 120,
        seed: NonNegativeInt = 0,
    ) -> None:
        self.image_size = image_size
        self._counts = {"train": train_images, "val": val_images, "holdout": holdout_images}
        self._seed = seed

    def ids(self, split: str) -> list[str]:
        """Ids of a split, such as `train-00017`.

        Raises:
            ValueError: there is no such split.
        """
        return [f"{split}-{index:05d}" for index in range(self._count(split))]

    def image(self, id: str) -> NDArray[np.uint8]:
        """RGB image, uint8 `[H, W, 3]`.

        Raises:
            ValueError: there is no such id.
        """
        return self._picture(id)[0].copy()

    def mask(self, id: str) -> NDArray[np.uint8]:
        """Label values 0..6, uint8 `[H, W]`.

        Raises:
            ValueError: there is no such id.
        """
        return self._picture(id)[1].copy()

    def fingerprint(self, split: str) -> str:
        """A string that changes whenever the split's images or masks do.

        Raises:
            ValueError: there is no such split.
        """
        height, width = self.image_size
        return (
            f"mannequins-{GENERATOR_VERSION} {split} of {self._count(split)}, "
            f"{height}x{width}, seed {self._seed}"
        )

    def _count(self, split: str) -> int:
        if split not in self._counts:
            raise ValueError(f"no split {split!r}; it has {', '.join(self.splits)}")
        return self._counts[split]

    def _picture(self, id: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        split, _, number = id.partition("-")
        index = int(number) if number.isdecimal() else -1
        if not 0 <= index < self._counts.get(split, 0) or id != f"{split}-{index:05d}":
            raise ValueError(f"no image {id!r}; take an id from ids(split), as in 'train-00000'")
        return _draw(self._seed, self.splits.index(split), index, self.image_size)


# Image and mask come from the same drawing, and are usually read one after the other.
@lru_cache(maxsize=16)
def _draw(
    seed: int, split: int, index: int, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return draw_picture(np.random.default_rng([seed, split, index]), size)
