"""Hashes: the same everywhere, and as good as random numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg.hashing import hashed
from tests.support.tracing import without_shape_checks

MASK = 2**32 - 1
KEYS = torch.tensor([0, 1, -1, 2**31, 2**32, 2**62 + 3, -(2**63), 2**63 - 1])


def mixed(word: int) -> int:
    word = ((word ^ word >> 16) * 0x21F0AAAD) & MASK
    word = ((word ^ word >> 15) * 0x735A2D97) & MASK
    return word ^ word >> 15


def literal(index: int, key: int) -> int:
    """The definition in Python's integers, which do not overflow."""
    low, high = key % 2**32, (key % 2**64) >> 32
    high ^= mixed(low ^ 0x9E3779B9)
    low ^= mixed(high)
    high ^= mixed(low)
    return mixed(mixed(index ^ low) ^ high)


def bits(values: Tensor) -> Tensor:
    """The 32 bits of each value, `[..., 32]`."""
    return values[..., None] >> torch.arange(32) & 1


@given(st.integers(0, MASK), st.integers(-(2**63), 2**63 - 1))
def test_agrees_with_pythons_integers(index: int, key: int) -> None:
    assert hashed(torch.tensor(index), torch.tensor(key)).item() == literal(index, key)


def test_broadcasts_and_keeps_its_arguments() -> None:
    index, key = torch.arange(5), KEYS[:, None]
    values = hashed(index, key)
    assert values.shape == (len(KEYS), 5)
    assert values.tolist() == [[literal(i, k) for i in range(5)] for k in KEYS.tolist()]
    assert index.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(key[:, 0], KEYS)


def test_is_the_same_when_compiled() -> None:
    index, key = torch.arange(1000), KEYS[:, None]
    compiled = torch.compile(hashed, fullgraph=True, backend="aot_eager")
    with without_shape_checks():
        assert torch.equal(compiled(index, key), hashed(index, key))


def test_different_indices_have_different_values() -> None:
    assert len(hashed(torch.arange(2**20), torch.tensor(3)).unique()) == 2**20


@pytest.mark.parametrize("flipped", ["index", "key"])
def test_each_input_bit_flips_half_of_the_output_bits(flipped: str) -> None:
    samples = 4096
    index, key = torch.arange(samples), torch.arange(samples) * 0x1_0001_0003
    bit = 1 << torch.arange(32 if flipped == "index" else 63)[:, None]
    changed = hashed(index ^ bit, key) if flipped == "index" else hashed(index, key ^ bit)
    rate = bits(changed ^ hashed(index, key)).double().mean(1)
    # Six standard deviations of a fair coin.
    assert (rate - 0.5).abs().max() < 6 * 0.5 / samples**0.5


@pytest.mark.parametrize("over", ["index", "key"])
def test_values_are_uniform_and_independent(over: str) -> None:
    """Chi-square statistics of single values, and of pairs of neighbours."""
    samples, bins = 2**18, 64
    count = torch.arange(samples)
    zero = torch.zeros((), dtype=torch.int64)
    values = hashed(count, zero) if over == "index" else hashed(zero, count)
    for shift in (0, 13, 26):
        cell = values >> shift & (bins - 1)
        pairs = cell[:-1] * bins + cell[1:]
        for cells, number in ((cell, bins), (pairs, bins**2)):
            expected = len(cells) / number
            statistic = ((cells.bincount(minlength=number) - expected) ** 2 / expected).sum()
            # Its mean is `number - 1`, its variance twice that.
            assert abs(statistic - (number - 1)) < 5 * (2 * number) ** 0.5
