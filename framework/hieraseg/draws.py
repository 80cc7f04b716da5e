"""Random numbers for the images of a batch, which do not depend on the number of processes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from hieraseg.hashing import hashed
from hieraseg.processes import own_share

_BLOCK = 20  # random numbers per image that are drawn at once


class Numbers(NamedTuple):
    """The random numbers of a step, as tensors.

    Attributes:
        uniform: numbers in [0, 1) of each image, float32 `[B, N]`.
        seeds: seed of each image's noise, int64 `[B]`.
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
        self.images = len(range(rank, batch, processes))
        self.device = torch.device(device)
        self.taken = 0
        self._noises = 0
        self._generator = generator
        self._share = (batch, rank, processes)
        seed = torch.randint(1 << 32, (), generator=generator)
        self._seeds = self._own(hashed(torch.arange(batch), seed))
        self._blocks: list[Float[Tensor, "B block"]] = []

    def uniform(self, low: float, high: float) -> Float[Tensor, " B"]:
        """One number from low to high per image."""
        return low + (high - low) * self._next()

    def chosen(self, probability: float) -> Bool[Tensor, " B"]:
        """Whether each image is chosen, with this probability."""
        return self._next() < probability

    def noise(self, shape: Sequence[int]) -> Float[Tensor, "B ..."]:
        """Standard normal noise of each image.

        Args:
            shape: shape of the noise of one image.
        """
        self._noises += 1
        return normal_noise(self._seeds + self._noises, shape)

    def to_device(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Copy values to the device of the images, asynchronously."""
        return values.to(self.device, non_blocking=True)

    def numbers(self, count: int) -> Numbers:
        """The numbers that follow those taken, as tensors on the host (see `GivenDraws`).

        Args:
            count: how many numbers of each image.
        """
        self._draw(self.taken + count)
        uniform = torch.cat([torch.empty(self.images, 0), *self._blocks], 1)
        return Numbers(uniform[:, self.taken : self.taken + count].cpu(), self._seeds.cpu())

    def _next(self) -> Float[Tensor, " B"]:
        self.taken += 1
        self._draw(self.taken)
        block, column = divmod(self.taken - 1, _BLOCK)
        return self._blocks[block][:, column]

    def _draw(self, count: int) -> None:
        """Draw blocks until there are this many numbers per image."""
        while _BLOCK * len(self._blocks) < count:
            block = torch.rand(self._share[0], _BLOCK, generator=self._generator)
            self._blocks.append(self._own(block))

    def _own(self, values: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "B ..."]:
        batch, rank, processes = self._share
        return self.to_device(own_share(values, rank, processes))


class GivenDraws(Draws):
    """Random numbers that are tensors already, so that a step is a function of tensors.

    Args:
        numbers: the numbers, on the device of the images.

    Raises:
        IndexError: more are drawn than there are.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.images = len(numbers.seeds)
        self.device = numbers.seeds.device
        self.taken = 0
        self._noises = 0
        self._seeds = numbers.seeds
        self._uniform = numbers.uniform

    def _next(self) -> Float[Tensor, " B"]:
        self.taken += 1
        if self.taken > self._uniform.shape[1]:
            raise IndexError(
                "a transform drew more random numbers than in its first step; draw equally many "
                "in each"
            )
        return self._uniform[:, self.taken - 1]


def normal_noise(seeds: Int[Tensor, " B"], shape: Sequence[int]) -> Float[Tensor, "B ..."]:
    """Standard normal numbers that depend on a seed alone, on any device.

    Box-Muller transform of hashes, since a generator cannot be captured with a seed per image.

    Args:
        seeds: one per image.
        shape: shape of the numbers of one image.
    """
    count = torch.Size(shape).numel()
    place = torch.arange(2 * count, device=seeds.device).view(2, count)
    first, second = ((hashed(place[:, None], seeds[:, None]) + 0.5) * 2.0**-32).unbind(0)
    normal = (-2 * first.log()).sqrt() * (2 * torch.pi * second).cos()
    return normal.float().view(len(seeds), *shape)
