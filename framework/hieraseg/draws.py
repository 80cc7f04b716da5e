"""Random numbers for the images of a batch, which do not depend on the number of processes."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

import torch
from jaxtyping import Bool, Float, Int, Num, Shaped
from torch import Tensor

from hieraseg.errors import RecipeError
from hieraseg.hashing import hashed, mixed
from hieraseg.processes import own_share

_BLOCK = 20  # random numbers per image that are drawn at once


class Numbers(NamedTuple):
    """The random numbers of a step, as tensors.

    Attributes:
        uniform: numbers in [0, 1) of each image, float32 `[B, N]`.
        seeds: seed of each image, from 0 to 2**32 - 1, int64 `[B]`.
    """

    uniform: Float[Tensor, "B N"]
    seeds: Int[Tensor, " B"]


class Draws:
    """The random numbers of this process's B images, taken from those of the whole batch.

    Each call of `uniform` or `chosen` takes the next number of each image. What is drawn first
    does not depend on what is drawn after it, so another transform at the end of a recipe leaves
    those before it as they are.

    Args:
        generator: a CPU generator, in the same state in all processes (see `data.sampling`).
        batch: number of images of all processes together.
        rank: index of this process.
        processes: number of processes that share the batch.
        device: device of the images.

    Attributes:
        images: B, the number of images of this process.
        device: device of the images, and of all that is drawn.
        taken: how many numbers of each image have been drawn.
    """

    def __init__(
        self,
        generator: torch.Generator,
        batch: int,
        rank: int = 0,
        processes: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        def own(values: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "B ..."]:
            return own_share(values, rank, processes).to(device)

        seed = torch.randint(1 << 32, (), generator=generator)
        numbers = Numbers(
            uniform=torch.empty(len(range(rank, batch, processes)), 0, device=device),
            seeds=own(hashed(torch.arange(batch), seed)),
        )
        self._start(numbers, lambda: own(torch.rand(batch, _BLOCK, generator=generator)))

    @classmethod
    def given(cls, numbers: Numbers) -> "Draws":
        """Draws of these numbers and no more, so that a step is a function of tensors.

        Args:
            numbers: the numbers, on the device of the images.
        """
        draws = cls.__new__(cls)
        draws._start(numbers, _refuse)
        return draws

    def _start(self, numbers: Numbers, more: Callable[[], Float[Tensor, "B block"]]) -> None:
        self.images, self.device = len(numbers.seeds), numbers.seeds.device
        self.taken = 0
        self._uniform, self._seeds = numbers
        self._more = more

    def uniform(self, low: float, high: float) -> Float[Tensor, " B"]:
        """One number from low to high per image."""
        return low + (high - low) * self._next()

    def chosen(self, probability: float) -> Bool[Tensor, " B"]:
        """Whether each image is chosen, with this probability (see `functional.where_chosen`)."""
        return self._next() < probability

    def seeds(self) -> Int[Tensor, " B"]:
        """A new seed of each image (see `functional.normal_noise`)."""
        self._seeds = hashed(torch.zeros_like(self._seeds), self._seeds)
        return self._seeds

    def noise(self, shape: Sequence[int]) -> Float[Tensor, "B ..."]:
        """Standard normal noise of each image.

        Args:
            shape: shape of the noise of one image.
        """
        return normal_noise(self.seeds(), shape)

    def to_device(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Copy values to the device of the images, asynchronously.

        A transform that does so cannot be captured: make constants in `torch.full`, or in
        arithmetic with Python numbers.
        """
        return values.to(self.device, non_blocking=True)

    def numbers(self, count: int) -> Numbers:
        """The numbers that follow those drawn, for `given`.

        Args:
            count: how many numbers of each image.
        """
        self._draw(self.taken + count)
        uniform = self._uniform[:, self.taken : self.taken + count]
        # Copies to a device are asynchronous from contiguous memory only.
        return Numbers(uniform.contiguous(), self._seeds)

    def _next(self) -> Float[Tensor, " B"]:
        self.taken += 1
        self._draw(self.taken)
        return self._uniform[:, self.taken - 1]

    def _draw(self, count: int) -> None:
        """Draw blocks until there are this many numbers per image."""
        while self._uniform.shape[1] < count:
            self._uniform = torch.cat([self._uniform, self._more()], 1)


def normal_noise(seeds: Int[Tensor, " B"], shape: Sequence[int]) -> Float[Tensor, "B ..."]:
    """Standard normal numbers of each image, a function of its seed alone on any device.

    They are made of random integers of 16 bits by the Box-Muller transform, so that none is
    further than 4.9 from 0.

    Args:
        seeds: a seed per image, from 0 to 2**32 - 1 (see `Draws.seeds`).
        shape: shape of the numbers of one image.
    """
    count = torch.Size(shape).numel()
    pairs = mixed(torch.arange(-(-count // 2), device=seeds.device))
    words = mixed(pairs ^ mixed(seeds)[:, None])
    radius = ((words >> 16) + 0.5).mul_(2.0**-16).log_().mul_(-2).sqrt_()
    angle = words.bitwise_and_(0xFFFF) * (2 * math.pi * 2.0**-16)
    normal = torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)], 1)
    return normal[:, :count].reshape(len(seeds), *shape)


def where_chosen(
    chosen: Bool[Tensor, " B"],
    change: Callable[..., Float[Tensor, "B ..."]],
    images: Float[Tensor, "B ..."],
    *others: Num[Tensor, "B ..."],
) -> Float[Tensor, "B ..."]:
    """Images of which those that are chosen are changed.

    >>> images, factors = torch.ones(2, 3, 4, 4), torch.tensor([0.5, 2.0])
    >>> darker = where_chosen(factors < 1, lambda x, f: x * f[:, None, None, None], images, factors)
    >>> darker.mean((1, 2, 3))
    tensor([0.5000, 1.0000])

    On a CPU, those that are not chosen cost no time. On a GPU, where it would have to wait for the
    number of images, and in a compiled step, all are changed, and those that are chosen taken.

    Args:
        chosen: which images are chosen.
        change: called with some of the images, and with the others in the same order; it changes
            each image by itself, draws no random numbers, and does not write to what it gets.
        images: what is changed.
        others: numbers, seeds or masks of the images.
    """
    # Tensors without data, by which a step is checked, are of a subclass.
    can_select = type(chosen) is Tensor and chosen.device.type == "cpu"
    if torch.compiler.is_compiling() or not can_select:
        per_image = chosen.view(-1, *[1] * (images.ndim - 1))
        return torch.where(per_image, change(images, *others), images)
    (rows,) = chosen.nonzero(as_tuple=True)
    if not len(rows):
        return images
    return images.index_copy(0, rows, change(*(one[rows] for one in (images, *others))))


def _refuse() -> NoReturn:
    raise RecipeError(
        "augmentation.transforms: a transform drew more random numbers than in its first step; "
        "let it draw equally many in each"
    )
