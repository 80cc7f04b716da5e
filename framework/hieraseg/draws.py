"""Random numbers for the images of a batch, which do not depend on the number of processes."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from hieraseg.processes import own_share

_BLOCK = 20  # random numbers per image that are drawn at once


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
        self.batch, self.rank, self.processes = batch, rank, processes
        self.device = torch.device(device)
        self._generator = generator
        self._noise_seed = int(torch.randint(1 << 62, (), generator=generator))
        self._numbers = self._columns()

    def uniform(self, low: float, high: float) -> Float[Tensor, " B"]:
        """One number from low to high per image, on the CPU."""
        return low + (high - low) * self.own(next(self._numbers))

    def chosen(self, probability: float) -> Bool[Tensor, " B"]:
        """Whether each image is chosen, with this probability, on the CPU."""
        return self.own(self.chosen_in_batch(probability))

    def chosen_in_batch(self, probability: float) -> Bool[Tensor, " batch"]:
        """Whether each image of all processes is chosen."""
        return next(self._numbers) < probability

    def own(self, values: Shaped[Tensor, " batch"]) -> Shaped[Tensor, " B"]:
        """Those values of the whole batch that belong to the images of this process."""
        return own_share(values, self.rank, self.processes)

    def noise(
        self, shape: Sequence[int], chosen: Bool[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "images ..."]:
        """Standard normal noise of each image, on the device.

        Args:
            shape: shape of the noise of one image.
            chosen: the images of all processes that get noise, of which this process has at least
                one; by default all. Others are left out of the result.
        """
        generator = torch.Generator(self.device).manual_seed(self._noise_seed)
        self._noise_seed += 1
        if chosen is None:
            chosen = torch.ones(self.batch, dtype=torch.bool)
        noise = []
        for row in chosen.nonzero()[:, 0].tolist():
            # That of other processes is drawn too, since each image goes on where the last ended.
            of_image = torch.randn(shape, generator=generator, device=self.device)
            if row % self.processes == self.rank:
                noise.append(of_image)
        return torch.stack(noise)

    def to_device(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Copy values to the device of the images, asynchronously."""
        return values.to(self.device, non_blocking=True)

    def _columns(self) -> Iterator[Float[Tensor, " batch"]]:
        while True:
            yield from torch.rand(self.batch, _BLOCK, generator=self._generator).unbind(1)
