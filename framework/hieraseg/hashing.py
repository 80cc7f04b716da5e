"""Random-looking integers that are a pure function of tensors, for random numbers on any device.

A random generator has a state, which differs between devices, cannot be part of a compiled step,
and makes the numbers of an image depend on how many were drawn before. A hash has none of this.
"""

from jaxtyping import Int
from torch import Tensor

_MASK = 0xFFFF_FFFF


def hashed(index: Int[Tensor, "..."], key: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """A well-mixed integer for each pair of an index and a key.

    It uses integer operations without overflow only, so that all devices and compilers agree. Of
    one key, different indices have different values.

    >>> hashed(torch.arange(3), torch.tensor(0))
    tensor([ 340428713, 3180071998, 3815387399])

    Args:
        index: int64, from 0 to 2**32 - 1.
        key: int64, any value; broadcasts with `index`.

    Returns:
        int64 from 0 to 2**32 - 1, of the common shape.
    """
    low, high = key & _MASK, (key >> 32) & _MASK
    # Mixed into each other, so that keys that differ in one bit differ in both words. A constant
    # keeps a key of zeros, which the mixing leaves as it is, from being zeros.
    high = high ^ mixed(low ^ 0x9E37_79B9)
    low = low ^ mixed(high)
    high = high ^ mixed(low)
    # Two words of the key, since with one, of 32 bits, some keys would have the same values.
    return mixed(mixed(index ^ low) ^ high)


def mixed(word: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """A bijection of the integers from 0 to 2**32 - 1, which maps 0 to 0.

    Each bit that changes in the input changes each bit of the output half the time.
    Constants from https://github.com/skeeto/hash-prospector, below 2**31 so that products fit.
    """
    word = (word ^ (word >> 16)).mul_(0x21F0_AAAD).bitwise_and_(_MASK)
    word = word.bitwise_xor_(word >> 15).mul_(0x735A_2D97).bitwise_and_(_MASK)
    return word.bitwise_xor_(word >> 15)
