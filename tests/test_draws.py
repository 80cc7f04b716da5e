"""Random numbers of the images of a batch."""

import pytest
import torch
from torch import Tensor

from hieraseg import Draws
from hieraseg.data.sampling import generator

BATCH = 6


def draws(batch: int = BATCH, rank: int = 0, processes: int = 1, step: int = 0) -> Draws:
    return Draws(generator(5, step), batch, rank, processes)


def numbers(one: Draws, count: int) -> Tensor:
    """The next numbers of each image: `[B, count]`."""
    return torch.stack([one.uniform(0, 1) for _ in range(count)], 1)


def test_numbers_are_uniform_and_independent() -> None:
    drawn = numbers(draws(500), 50)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean(0).tolist() == pytest.approx([0.5] * 50, abs=0.06)
    assert (torch.corrcoef(drawn.T) - torch.eye(50)).abs().max() < 0.25
    ranged = draws(1000).uniform(-2, 3)
    assert ranged.min() >= -2
    assert ranged.max() < 3
    assert ranged.mean().item() == pytest.approx(0.5, abs=0.2)


def test_probabilities() -> None:
    one = draws(2000)
    assert one.chosen(0.2).double().mean().item() == pytest.approx(0.2, abs=0.03)
    assert not one.chosen(0).any()
    assert one.chosen(1).all()


def test_first_numbers_do_not_depend_on_later_ones() -> None:
    """Nor on noise, which has a source of its own."""
    few, many, noisy = numbers(draws(), 3), numbers(draws(), 70), draws()
    assert torch.equal(few, many[:, :3])
    first = numbers(noisy, 1)
    noise = noisy.noise([2])
    assert torch.equal(torch.cat([first, numbers(noisy, 69)], 1), many)
    assert torch.equal(noise, draws().noise([2]))
    assert not torch.equal(noise, noisy.noise([2]))


def test_steps_have_other_numbers() -> None:
    assert not torch.equal(draws().uniform(0, 1), draws(step=1).uniform(0, 1))
    assert not torch.equal(draws().noise([2]), draws(step=1).noise([2]))


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_number_of_processes_does_not_matter(processes: int) -> None:
    """Each takes every second, third, ... image of the batch; some may have one more."""
    whole = draws()
    expected, chosen = numbers(whole, 30), whole.chosen_in_batch(0.5)
    noise, noise_of_chosen = whole.noise([3, 4]), whole.noise([5], chosen)
    for rank in range(processes):
        own = draws(BATCH, rank, processes)
        assert own.images == len(range(rank, BATCH, processes))
        assert torch.equal(numbers(own, 30), expected[rank::processes])
        assert torch.equal(own.own(own.chosen_in_batch(0.5)), chosen[rank::processes])
        assert torch.equal(own.noise([3, 4]), noise[rank::processes])
        rows = chosen.nonzero()[:, 0]
        mine = noise_of_chosen[rows % processes == rank]
        if len(mine):
            assert torch.equal(own.noise([5], chosen), mine)


def test_noise_is_standard_normal() -> None:
    noise = draws().noise([3, 40, 40])
    assert noise.mean((1, 2, 3)).tolist() == pytest.approx([0] * BATCH, abs=0.06)
    assert noise.std((1, 2, 3)).tolist() == pytest.approx([1] * BATCH, abs=0.05)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_numbers_on_cuda() -> None:
    """Those of images are the CPU's; noise is drawn on the device."""
    one = Draws(generator(5, 0), BATCH, device="cuda")
    drawn = one.uniform(0, 1)
    assert torch.equal(drawn, draws().uniform(0, 1))
    assert torch.equal(one.to_device(drawn).cpu(), drawn)
    assert one.noise([2]).device.type == "cuda"
