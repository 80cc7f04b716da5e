"""Images that are the same, or look alike, found by digests and perceptual hashes."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

ALIKE = 6
"""Most bits, of 63, in which the hashes of images that look alike differ.

Hashes of a photograph and of copies with another JPEG quality, size or a tenth more brightness
differ in no more bits but for one copy in a thousand, those of different photographs in 8 to 50.
Neighboring frames of a video look alike.
"""

_SIDE = 32  # of the grayscale image that is hashed
_FLAT = 2.0  # gray levels: the bits of an image with a lower standard deviation are noise
_FREQUENCIES = np.cos(np.pi * np.outer(np.arange(8), np.arange(_SIDE) + 0.5) / _SIDE)  # DCT-II
_NONE = -1  # hash of a flat image
# Hashes that differ in 6 of 63 bits have the same bits in at least one of 7 parts of 9.
_PARTS, _PART_BITS = ALIKE + 1, 9
_BLOCK = 1024  # hashes that are compared with as many others at once


@dataclass(frozen=True)
class Fingerprints:
    """What is known of the pixels of N images.

    Attributes:
        ids: their ids.
        digests: digest of the pixels of each, int64 `[N]`.
        hashes: perceptual hash of each, 63 bits, or -1 for an image of one color; int64 `[N]`.
    """

    ids: list[str]
    digests: Int[np.ndarray, " N"]
    hashes: Int[np.ndarray, " N"]


class Pair(NamedTuple):
    """Ids of two images that are the same or look alike."""

    first: str
    second: str


class Duplicates(NamedTuple):
    """Images of one split that another one, or the same split before them, has already.

    Attributes:
        same: those with the same pixels, each with the first image that it repeats.
        alike: others that look alike, each with one image that it resembles.
    """

    same: list[Pair]
    alike: list[Pair]


def pixel_digest(image: UInt8[np.ndarray, "H W 3"]) -> int:
    """64 bits of the SHA-256 of an image's shape and pixels, as a signed integer."""
    content = hashlib.sha256(repr(image.shape).encode())
    content.update(np.ascontiguousarray(image).data)
    return int.from_bytes(content.digest()[:8], "big", signed=True)


def perceptual_hash(image: UInt8[np.ndarray, "H W 3"]) -> int:
    """63 bits that say which low frequencies of an image are above their median, or -1.

    After "pHash" (Zauner 2010): the 8 x 8 lowest frequencies of the cosine transform of the image
    as 32 x 32 gray levels, without the mean, which is the brightness.
    """
    small = Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    gray = np.asarray(small.convert("L"), np.float64)
    if gray.std() < _FLAT:
        return _NONE
    frequencies = (_FREQUENCIES @ gray @ _FREQUENCIES.T).ravel()[1:]
    bits = frequencies > np.median(frequencies)
    return int(bits @ (1 << np.arange(len(bits))))


def find_duplicates(images: Fingerprints, others: Fingerprints) -> Duplicates:
    """Find images of one split that another split has.

    Args:
        images: the images.
        others: those of the other split. The same object: those before each image.
    """
    count = len(others.ids)
    before = np.arange(count) if images is others else np.full(len(images.ids), count)
    same = _same(images.digests, others.digests, before)
    rest = np.flatnonzero(same < 0)
    alike = np.full(len(images.ids), -1)
    alike[rest] = _alike(images.hashes[rest], others.hashes, before[rest])
    return Duplicates(
        *(
            [Pair(others.ids[rows[row]], images.ids[row]) for row in np.flatnonzero(rows >= 0)]
            for rows in (same, alike)
        )
    )


def _same(
    values: Int[np.ndarray, " N"], others: Int[np.ndarray, " M"], before: Int[np.ndarray, " N"]
) -> Int[np.ndarray, " N"]:
    """For each value the first row with the same value, before a limit; -1 without one."""
    if not len(others):
        return np.full(len(values), -1)
    distinct, first = np.unique(others, return_index=True)
    place = np.searchsorted(distinct, values).clip(max=len(distinct) - 1)
    found = (distinct[place] == values) & (first[place] < before)
    return np.where(found, first[place], -1)


def _alike(
    hashes: Int[np.ndarray, " N"], others: Int[np.ndarray, " M"], before: Int[np.ndarray, " N"]
) -> Int[np.ndarray, " N"]:
    """For each hash a row whose hash differs in few bits, before a limit; -1 without one.

    Only hashes with an equal part are compared, in blocks, so that the hashes of 200,000 images
    take seconds and little memory.
    """
    found = np.full(len(hashes), -1)
    for part in range(_PARTS):
        own, theirs = (_part(values, part) for values in (hashes, others))
        order = np.argsort(theirs, kind="stable")
        starts = np.searchsorted(theirs[order], np.arange(2**_PART_BITS + 1))
        open_rows = np.flatnonzero((found < 0) & (hashes != _NONE))
        if not len(open_rows):
            break
        open_rows = open_rows[np.argsort(own[open_rows], kind="stable")]
        keys, firsts = np.unique(own[open_rows], return_index=True)
        for key, rows in zip(keys, np.split(open_rows, firsts[1:]), strict=True):
            candidates = order[starts[key] : starts[key + 1]]
            _compare(hashes, rows, others, candidates, before, found)
    return found


def _part(hashes: Int[np.ndarray, " N"], part: int) -> Int[np.ndarray, " N"]:
    """Some bits of each hash; a value that no bits have for an image without a hash."""
    bits = (hashes >> (part * _PART_BITS)) & (2**_PART_BITS - 1)
    return np.where(hashes == _NONE, 2**_PART_BITS, bits)


def _compare(
    hashes: Int[np.ndarray, " N"],
    rows: Int[np.ndarray, " n"],
    others: Int[np.ndarray, " M"],
    candidates: Int[np.ndarray, " m"],
    before: Int[np.ndarray, " N"],
    found: Int[np.ndarray, " N"],
) -> None:
    """Compare some hashes with candidates in ascending order, and note in `found` what is alike."""
    for start in range(0, len(candidates), _BLOCK):
        block = candidates[start : start + _BLOCK]
        rows = rows[found[rows] < 0]
        for first in range(0, len(rows), _BLOCK):
            own = rows[first : first + _BLOCK]
            distances = np.bitwise_count(hashes[own, None] ^ others[block])
            distances[block >= before[own, None]] = 64
            best = distances.argmin(1)
            near = distances[np.arange(len(own)), best] <= ALIKE
            found[own[near]] = block[best[near]]
