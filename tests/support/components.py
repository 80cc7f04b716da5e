"""Small components of every kind, and a recipe that names them."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import catalogue
import pytest

from hieraseg import Hierarchy, Loss, registry
from hieraseg.types import PositiveInt

VALID = """\
hierarchy: fake_tree
data: {name: fake_data, root: some/folder}
backbone: fake_backbone
decoder: {name: fake_decoder}
loss:
  name: fake_loss
  gamma: 3e-1
inference: fake_rule
optimizer: {name: fake_optimizer, lr: 3e-4}
schedule: fake_schedule
training: {epochs: 2, seed: 7}
"""


class Mode(Enum):
    PLAIN = 1
    FOCAL = 2


def fake_tree() -> Hierarchy:
    """A tree."""
    return Hierarchy.from_tree(["one", "other"])


class FakeData:
    """Data that need a root.

    Args:
        root: the folder.
        size: height and width.
    """

    def __init__(self, hierarchy: Any, root: str, size: tuple[int, int] = (8, 8)) -> None: ...


class FakeBackbone:
    def __init__(self, weights: str | None = None, file: Path = Path("w.pth")) -> None: ...


class FakeDecoder:
    def __init__(self, channels, strides, num_classes, width: PositiveInt = 4) -> None:  # type: ignore[no-untyped-def]
        ...


class FakeLoss(Loss):
    """A loss with arguments of every type.

    Its second paragraph.

    Args:
        hierarchy: from the runner.
        gamma: the exponent.
        weights: of the levels.
    """

    def __init__(
        self,
        hierarchy: Any,
        gamma: float = 2,
        weights: list[float] | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        sides: tuple[float, ...] = (1.0,),
        by_class: dict[str, float] = {},  # noqa: B006
        either: int | str = 1,
        label: str | None = None,
        focal: bool = False,
        mode: Mode = Mode.PLAIN,
    ) -> None: ...


class OtherLoss(Loss):
    def __init__(self, delta: int = 1) -> None: ...


class PixelLoss(Loss):
    """A loss that asks for all that the runner supplies, and keeps what it gets.

    Args:
        gamma: the exponent.
    """

    def __init__(self, hierarchy: Any, class_pixels: Any, gamma: float = 1) -> None:
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}, but must not be negative")
        super().__init__()
        self.got = (hierarchy, class_pixels, gamma)


class SumLoss(Loss):
    """A loss of losses, and keeps them.

    Args:
        losses: the losses.
        extra: one more.
    """

    def __init__(
        self, losses: list[Loss], weights: list[float] | None = None, extra: Loss | None = None
    ) -> None:
        super().__init__()
        self.losses = losses
        self.extra = extra


class MappedLoss:
    def __init__(self, losses: dict[str, Loss]) -> None: ...


class UntypedLoss:
    def __init__(self, delta=1) -> None:  # type: ignore[no-untyped-def]
        ...


class CodeLoss:
    def __init__(self, function: Any = None) -> None: ...


class OpenLoss:
    def __init__(self, **settings: int) -> None: ...


class MisdefaultedLoss:
    def __init__(self, delta: int = 1.5) -> None: ...  # type: ignore[assignment]


def no_tree() -> None:
    """No tree at all."""


class FakeRule:
    def __call__(self, scores: Any) -> None: ...


def fake_optimizer(parameters: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
    """An optimizer."""


def fake_schedule(optimizer: Any, total_steps: int, warmup: float = 0.0) -> None:
    """A schedule."""


def register_all() -> None:
    """Put them into the registries."""
    for kind, name, component in (
        ("hierarchies", "fake_tree", fake_tree),
        ("hierarchies", "no_tree", no_tree),
        ("datasets", "fake_data", FakeData),
        ("backbones", "fake_backbone", FakeBackbone),
        ("decoders", "fake_decoder", FakeDecoder),
        ("losses", "fake_loss", FakeLoss),
        ("losses", "other_loss", OtherLoss),
        ("losses", "pixel_loss", PixelLoss),
        ("losses", "sum_loss", SumLoss),
        ("losses", "mapped_loss", MappedLoss),
        ("losses", "untyped_loss", UntypedLoss),
        ("losses", "code_loss", CodeLoss),
        ("losses", "open_loss", OpenLoss),
        ("losses", "misdefaulted_loss", MisdefaultedLoss),
        ("inference", "fake_rule", FakeRule),
        ("optimizers", "fake_optimizer", fake_optimizer),
        ("schedules", "fake_schedule", fake_schedule),
    ):
        registry.by_name()[kind].register(name)(component)


@pytest.fixture(scope="module", autouse=True)
def fakes() -> Iterator[None]:
    """The components above, registered for one module of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "REGISTRY", dict(catalogue.REGISTRY))
        register_all()
        yield
