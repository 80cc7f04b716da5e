"""What a step costs: operations against counts by hand, and what makes the host wait."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hieraseg import Prediction
from hieraseg.draws import where_chosen
from hieraseg.training.cost import (
    count_flops,
    count_host_waits,
    flops_per_image,
    images_that_fit,
    like_on_gpu,
    peak_flops,
    peak_memory,
    peak_of,
    reset_peak_memory,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_a_gradient_takes_as_many_operations_as_the_convolution(
    groups: int, is_transposed: bool
) -> None:
    kind = nn.ConvTranspose2d if is_transposed else nn.Conv2d
    layer = kind(4, 8, 3, stride=2, padding=1, groups=groups)
    inputs = torch.randn(5, 4, 12, 12, requires_grad=True)
    # Each input of a transposed convolution, and each output of another, meets the whole kernel.
    positions = 12 * 12 if is_transposed else 6 * 6
    once = 2 * 5 * positions * 4 * 8 * 9 // groups
    assert count_flops(lambda: layer(inputs)) == once
    assert count_flops(lambda: layer(inputs).sum().backward()) == 3 * once
    assert count_flops(lambda: layer(inputs.detach()).sum().backward()) == 2 * once


class Pooled(nn.Module):
    """A convolution, a normalization of one value per image, and logits of two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.SyncBatchNorm(8), nn.Dropout(0.5))
        self.levels = nn.ModuleList([nn.Conv2d(8, classes, 1) for classes in (2, 5)])

    def forward(self, images: Tensor) -> Prediction:
        features = self.conv(images)
        features = features + self.pool(features)
        return Prediction(tuple(level(features) for level in self.levels))


def test_operations_of_one_training_image() -> None:
    """By hand: three passes, but the images need no gradient. The model and random numbers stay."""
    model = Pooled().eval()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    random = torch.get_rng_state()
    conv, levels = 2 * 8 * 10 * 3 * 8 * 9, 2 * 8 * 10 * 8 * (2 + 5)
    assert flops_per_image(model, (8, 10)) == 2 * conv + 3 * levels
    model.conv.requires_grad_(False)
    assert flops_per_image(model, (8, 10)) == conv + 3 * levels  # no gradients of its weights
    assert not model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert all(one.grad is None for one in model.parameters())


def test_operations_are_unknown_where_a_model_fails() -> None:
    model = Pooled()
    model.conv = nn.Conv2d(4, 8, 3)
    assert flops_per_image(model, (8, 8)) is None


@pytest.mark.parametrize(
    ("work", "waits"),
    [
        (lambda x: x.sum().item(), 1),
        (lambda x: float(x.sum()) + float(x.mean()), 2),
        (lambda x: x if x.any() else -x, 1),
        (lambda x: x[x > 0], 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: x.unique(), 1),
        (lambda x: x[torch.tensor([0, 1])], 0),
        (lambda x: torch.where(x > 0, x, 0).sum().sqrt(), 0),
        (lambda x: x.clone().masked_fill_(x > 0, 1), 0),
    ],
)
def test_host_waits(work: Callable[[Tensor], object], waits: int) -> None:
    values = torch.linspace(-1, 1, 6)
    assert count_host_waits(lambda: work(values), CPU) == waits


def test_host_waits_of_a_backward_pass() -> None:
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, values: Tensor) -> Tensor:
            return values.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient * gradient.max().item()

    values = torch.ones(3, requires_grad=True)
    assert count_host_waits(lambda: Reads.apply(values).sum().backward(), CPU) == 1


def test_the_peak_of_a_device_is_plausible() -> None:
    assert 1e6 < peak_flops(CPU, "32-true") < 1e15


def test_peak_memory_does_not_fall() -> None:
    before = peak_memory(CPU)
    if before is None:
        pytest.skip("the system does not say")
    torch.ones(1 << 22)
    after = peak_memory(CPU)
    assert after is not None
    assert 1e7 < before <= after


def test_peak_memory_is_that_since_a_reset() -> None:
    large = torch.ones(1 << 27)  # 512 MiB
    before = peak_memory(CPU)
    del large
    reset_peak_memory(CPU)
    after = peak_memory(CPU)
    if before is None or after == before:
        pytest.skip("the system does not say, or counts from the start of the process")
    assert after is not None
    assert before - after > 1 << 28


def test_tensors_on_the_device_are_not_selected() -> None:
    images, chosen = torch.ones(2, 3, 4, 4), torch.tensor([True, False])

    def change(moved: Callable[[Tensor], Tensor]) -> Tensor:
        return where_chosen(moved(chosen), lambda one: one / 2, moved(images))

    assert count_host_waits(lambda: change(lambda one: one), CPU) == 1
    assert count_host_waits(lambda: change(like_on_gpu), CPU) == 0
    assert torch.equal(change(like_on_gpu), change(lambda one: one))


@pytest.mark.parametrize(("number", "waits"), [(3, 0), (-1, 1)])
def test_classes_are_not_checked_on_a_gpu(number: int, waits: int) -> None:
    classes = torch.tensor([[0, 2], [1, 1]])
    assert torch.equal(F.one_hot(like_on_gpu(classes), number), F.one_hot(classes, number))
    assert count_host_waits(lambda: F.one_hot(like_on_gpu(classes), number), CPU) == waits


@pytest.mark.parametrize(
    ("of_image", "images", "needed", "expected"),
    [
        (10, 8, 180, 90),  # (1000 - 100) / 10
        (10, 7, 170, 90),
        (10, 8, 360, 40),  # twice as much is reserved: (1000 / 2 - 100) / 10
        (10, 8, 3600, 8),  # it has fit
        (0, 8, 180, None),
        (10, 1, 110, None),
    ],
)
def test_memory_grows_with_the_images(
    of_image: int, images: int, needed: int, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 1000 bytes, 100 are taken without any image; 300 are reserved at the moment."""
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (700, 1200))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 300)
    assert images_that_fit(lambda n: 100 + of_image * n, images, needed, CPU) == expected


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_peak_of_some_work() -> None:
    device = torch.device("cuda")
    before = torch.cuda.memory_allocated(device)
    found = peak_of(lambda: torch.zeros(2**20, device=device), device) - before
    assert found == 2**22
