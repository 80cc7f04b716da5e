"""Random numbers of the images of a batch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor

from hieraseg import Draws
from hieraseg.data.sampling import generator
from hieraseg.draws import Numbers
from hieraseg.errors import RecipeError
from hieraseg.functional import normal_noise, where_chosen
from hieraseg.testing.capturing import assert_capturable
from tests.support.tracing import without_shape_checks

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


def test_numbers_can_be_copied_asynchronously() -> None:
    """A part of a row is not contiguous, and would be copied into other memory first."""
    assert draws().numbers(7).uniform.is_contiguous()


def test_steps_have_other_numbers() -> None:
    assert not torch.equal(draws().uniform(0, 1), draws(step=1).uniform(0, 1))
    assert not torch.equal(draws().noise([2]), draws(step=1).noise([2]))


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_number_of_processes_does_not_matter(processes: int) -> None:
    """Each takes every second, third, ... image of the batch; some may have one more."""
    whole = draws()
    expected, noise, seeds = numbers(whole, 30), whole.noise([3, 4]), whole.seeds()
    for rank in range(processes):
        own = draws(BATCH, rank, processes)
        assert own.images == len(range(rank, BATCH, processes))
        assert torch.equal(numbers(own, 30), expected[rank::processes])
        assert torch.equal(own.noise([3, 4]), noise[rank::processes])
        assert torch.equal(own.seeds(), seeds[rank::processes])


@pytest.mark.parametrize("taken", [1, 3, 25])
def test_given_numbers_go_on_where_those_of_the_generator_end(taken: int) -> None:
    whole, first = draws(), draws()
    numbers(whole, taken), numbers(first, taken)
    given = Draws.given(first.numbers(30))
    assert given.images == BATCH
    assert given.device == torch.device("cpu")
    assert torch.equal(numbers(given, 30), numbers(whole, 30))
    assert torch.equal(given.noise([2]), whole.noise([2]))
    assert torch.equal(given.seeds(), whole.seeds())
    assert given.taken == 30


def test_no_more_than_the_given_numbers_are_drawn() -> None:
    given = Draws.given(draws().numbers(2))
    numbers(given, 2)
    with pytest.raises(RecipeError, match="drew more random numbers"):
        given.uniform(0, 1)


@pytest.mark.parametrize("shape", [[3, 40, 41], [9999]])
def test_noise_is_standard_normal(shape: list[int]) -> None:
    """All of it, each image, and each half of an image."""
    noise = torch.cat([draws(step=step).noise(shape).flatten(1) for step in range(20)])
    assert kstest(noise.flatten()[::7].numpy(), "norm").pvalue > 0.01
    count = noise.shape[1]
    for part in (noise, noise[:, : count // 2], noise[:, count // 2 :]):
        error = 5 / math.sqrt(part.shape[1])
        assert part.mean(1).abs().max() < error
        assert (part.std(1) - 1).abs().max() < error
    assert 4 < noise.abs().max() < 4.9


def test_noise_of_images_channels_and_pixels_is_independent() -> None:
    """Of one step and of the next, and within an image at every distance of pixels."""
    one, other = draws(), draws(step=1)
    images = torch.cat([draw.noise([3, 64, 64]) for draw in (one, one, other)])
    for samples in (images.flatten(1), images.movedim(1, 0).flatten(1)):
        correlation = torch.corrcoef(samples) - torch.eye(len(samples))
        assert correlation.abs().max() < 5 / math.sqrt(samples.shape[1])
        assert torch.corrcoef(samples.abs()).triu(1).max() < 5 / math.sqrt(samples.shape[1])
    spectrum = torch.fft.fft2(images).abs().square() / 64**2  # 1 for white noise
    assert spectrum.max() < 16


def test_noise_of_neighboring_seeds_is_independent() -> None:
    seeds = torch.cat([torch.arange(20), 2 ** torch.arange(5, 32), torch.tensor([2**32 - 1])])
    noise = normal_noise(seeds, [4096])
    assert (torch.corrcoef(noise) - torch.eye(len(seeds))).abs().max() < 0.09


def test_noise_does_not_depend_on_the_other_images() -> None:
    seeds = draws().seeds()
    noise = normal_noise(seeds, [3, 5])
    for row in range(BATCH):
        assert torch.equal(normal_noise(seeds[row : row + 1], [3, 5])[0], noise[row])


def test_compiled_noise_is_the_same() -> None:
    numbers = draws().numbers(2)

    def step(numbers: Numbers) -> Tensor:
        given = Draws.given(numbers)
        return given.noise([3, 10]) + given.noise([3, 10]) * given.uniform(0, 1)[:, None, None]

    with without_shape_checks():
        found = torch.compile(step, fullgraph=True, backend="aot_eager")(numbers)
    assert torch.equal(found, step(numbers))


def change(images: Tensor, factors: Tensor) -> Tensor:
    assert len(images) == len(factors)
    return images * factors[:, None]


@given(chosen=st.lists(st.booleans(), min_size=1, max_size=5))
def test_chosen_images_are_changed(chosen: list[bool]) -> None:
    rows = torch.tensor(chosen)
    images, factors = torch.rand(len(rows), 4), torch.rand(len(rows))
    before = images.clone()
    found = where_chosen(rows, change, images, factors)
    assert torch.equal(found, torch.where(rows[:, None], images * factors[:, None], images))
    assert torch.equal(images, before)


def test_images_that_are_not_chosen_cost_nothing_on_a_cpu() -> None:
    seen: list[int] = []

    def count(images: Tensor) -> Tensor:
        seen.append(len(images))
        return images + 1

    images = torch.rand(4, 2)
    where_chosen(torch.tensor([True, False, True, False]), count, images)
    where_chosen(torch.zeros(4).bool(), count, images)
    assert seen == [2]


def test_compiled_and_without_data_all_images_are_changed() -> None:
    """With the same result, and without a shape that depends on the data."""
    chosen, images, factors = torch.arange(6) % 2 == 0, torch.rand(6, 4), torch.rand(6)

    def step(chosen: Tensor, images: Tensor, factors: Tensor) -> Tensor:
        return where_chosen(chosen, change, images, factors)

    with without_shape_checks():
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(chosen, images, factors), step(chosen, images, factors))
    assert_capturable(None, lambda _, inputs: [step(*inputs)], [chosen, images, factors])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_numbers_on_cuda() -> None:
    """They are the CPU's, noise up to rounding."""
    one, other = Draws(generator(5, 0), BATCH, device="cuda"), draws()
    drawn = one.uniform(0, 1)
    assert drawn.device.type == "cuda"
    assert torch.equal(drawn.cpu(), other.uniform(0, 1))
    assert torch.equal(one.to_device(drawn.cpu()), drawn)
    torch.testing.assert_close(one.noise([3, 50]).cpu(), other.noise([3, 50]), rtol=0, atol=1e-5)
