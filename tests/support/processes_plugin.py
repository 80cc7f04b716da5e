"""A model without batch normalization, on images of which some are nearly void, and odd losses."""

import os
import signal
import threading

import numpy as np
import torch
from torch import Tensor, nn

from hieraseg import Prediction, registry
from hieraseg.errors import DataError
from hieraseg_plugins.losses.marginal_ce import MarginalCrossEntropy


class _Abort:
    """Aborts when Python takes apart its modules, as a thread of gloo can by then."""

    def __del__(self) -> None:
        os.abort()


if "RANK" in os.environ:
    _ABORT = _Abort()


@registry.backbones.register("identity")
class Identity(nn.Module):
    """The image itself."""

    channels, strides = [3], [1]
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [image]


@registry.decoders.register("pointwise")
class Pointwise(nn.Module):
    """A linear classifier of colors.

    Args:
        num_classes: number of classes of each level that has logits.
        nan: whether logits are NaN in evaluation mode.
    """

    def __init__(self, num_classes: list[int], nan: bool = False) -> None:
        super().__init__()
        self.nan = nan
        self.heads = nn.ModuleList(nn.Conv2d(3, number, 1) for number in num_classes)

    def forward(self, pyramid: list[Tensor]) -> Prediction:
        factor = torch.nan if self.nan and not self.training else 1
        return Prediction(tuple(factor * head(pyramid[-1]) for head in self.heads))


@registry.datasets.register("uneven")
class Uneven:
    """Random colors; every second image is void but for a few pixels.

    Args:
        train_images: number of training images.
        val_images: number of validation images.
        val_label: label of all pixels of the validation images.
    """

    splits = ("train", "val")

    def __init__(self, train_images: int = 5, val_images: int = 1, val_label: int = 1) -> None:
        self.images = {"train": train_images, "val": val_images}
        self.val_label = val_label

    def ids(self, split: str) -> list[str]:
        return [f"{split}-{index}" for index in range(self.images[split])]

    def image(self, id: str) -> np.ndarray:
        return _random(id).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    def mask(self, id: str) -> np.ndarray:
        split, number = id.split("-")
        if split == "val":
            return np.full((16, 16), self.val_label, np.uint8)
        mask = _random(id).integers(0, 4, (16, 16), dtype=np.uint8)
        if int(number) % 2:
            mask[1:] = 255
        return mask

    def fingerprint(self, split: str) -> str:
        return f"{split} {self.images} {self.val_label}"


@registry.losses.register("odd")
class Odd(MarginalCrossEntropy):
    """A loss with which something goes wrong in one step.

    Args:
        how: `nan`: the gradient is NaN; `term`: the term `odd` is NaN; `steep`: the gradient is
            large; `data`: DataError; `kill`: the process is killed; `stop`: the command that has
            started it gets SIGTERM, and passes it on before the step goes on.
        step: the step, from 1.
        rank: the only process to which it happens; null for all.
    """

    def __init__(self, hierarchy, how: str = "nan", step: int = 2, rank: int | None = None):
        super().__init__(hierarchy)
        self.how, self.step, self.rank, self.steps = how, step, rank, 0

    def forward(self, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
        terms = super().forward(prediction, targets)
        self.steps += 1
        mean = prediction.logits[-1].mean()
        terms["odd"] = 0 * mean
        if self.steps == self.step and self.rank in (None, int(os.environ.get("RANK", "0"))):
            if self.how == "data":
                raise DataError("x.jpg: is damaged; copy it again")
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "stop":
                _stop()
                return terms
            # A root has an infinite slope at 0, and 0 times infinity is NaN.
            terms["odd"] = 0 * (0 * mean).sqrt()
            if self.how != "nan":
                terms["odd"] = mean * (torch.nan if self.how == "term" else 1e3)
        return terms


def _stop() -> None:
    """Signal the command that has started this process, and wait until it has passed it on."""
    received = threading.Event()
    handle = signal.getsignal(signal.SIGTERM)
    assert callable(handle)
    signal.signal(signal.SIGTERM, lambda *arguments: (received.set(), handle(*arguments)))
    os.kill(os.getppid(), signal.SIGTERM)
    assert received.wait(60)


def _random(id: str) -> np.random.Generator:
    return np.random.default_rng(list(id.encode()))
