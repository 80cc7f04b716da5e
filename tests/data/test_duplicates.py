"""Images that are the same or look alike: copies that were changed match, others do not."""

import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from hieraseg.data.duplicates import (
    ALIKE,
    Fingerprints,
    find_duplicates,
    perceptual_hash,
    pixel_digest,
)

SIZE = (240, 180)  # width, height


def picture(seed: int) -> Image.Image:
    """A smooth random scene with some sharp noise, like a photograph."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 230, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC), np.float64)
    noisy = smooth + rng.normal(0, 6, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str, quality: int = 75) -> Image.Image:
    content = io.BytesIO()
    image.save(content, form, quality=quality)
    return Image.open(content).convert("RGB")


def next_frame(image: Image.Image) -> Image.Image:
    """The scene a moment later: one pixel further, with other noise."""
    pixels = np.roll(np.asarray(image, np.float64), 1, axis=1)
    pixels += np.random.default_rng(9).normal(0, 6, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG": lambda image: encoded(image, "JPEG"),
    "bad JPEG": lambda image: encoded(image, "JPEG", 30),
    "WebP": lambda image: encoded(image, "WEBP"),
    "half": lambda image: image.resize((SIZE[0] // 2, SIZE[1] // 2)),
    "larger": lambda image: image.resize((300, 225), Image.Resampling.BICUBIC),
    "square": lambda image: image.resize((128, 128)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.1),
    "next frame": next_frame,
}


def fingerprints(images: list[Image.Image], prefix: str) -> Fingerprints:
    arrays = [np.asarray(image) for image in images]
    return Fingerprints(
        [f"{prefix}{row}" for row in range(len(images))],
        np.array([pixel_digest(one) for one in arrays], np.int64),
        np.array([perceptual_hash(one) for one in arrays], np.int64),
    )


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    return [picture(seed) for seed in range(40)]


@pytest.mark.parametrize("copy", COPIES)
def test_changed_copies_look_alike(copy: str, scenes: list[Image.Image]) -> None:
    copies = [COPIES[copy](image) for image in scenes]
    found = find_duplicates(fingerprints(copies, "copy"), fingerprints(scenes, "scene"))
    assert found.same == []
    pairs = {pair.second: pair.first for pair in found.alike}
    assert all(pairs[second] == second.replace("copy", "scene") for second in pairs)
    assert len(pairs) >= 38, "all but few"


def test_different_scenes_do_not_match() -> None:
    images = fingerprints([picture(seed) for seed in range(150)], "scene")
    assert find_duplicates(images, images) == ([], [])


def test_the_same_pixels(scenes: list[Image.Image]) -> None:
    """In another file format too, and also of images without a perceptual hash."""
    flat = [Image.new("RGB", (9, 5), color) for color in ("black", "white", "white")]
    first = fingerprints([*scenes[:3], flat[0]], "a")
    second = fingerprints([encoded(scenes[2], "PNG"), scenes[5], *flat], "b")
    assert find_duplicates(second, first) == ([("a2", "b0"), ("a3", "b2")], [])
    assert find_duplicates(second, second) == ([("b3", "b4")], []), "the white ones"
    other_shape = fingerprints([Image.new("RGB", (5, 9), "black")], "c")
    assert find_duplicates(other_shape, first) == ([], [])


def test_images_of_one_color_do_not_look_alike() -> None:
    grays = [Image.new("RGB", (64, 48), (value,) * 3) for value in range(0, 256, 16)]
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 3, (48, 64, 3), dtype=np.uint8)) for _ in range(4)]
    images = fingerprints([*grays, *noise], "flat")
    assert (images.hashes == -1).all()
    assert find_duplicates(images, images) == ([], [])


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (700, 2), (3, 3)])
def test_any_size_has_a_hash(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert -1 <= perceptual_hash(pixels) < 2**63


def near_values(rng: np.random.Generator, count: int, others: np.ndarray) -> np.ndarray:
    """Random hashes, half of which differ from one of the others in 0 to 12 bits."""
    values = rng.integers(0, 2**63, count)
    for row in range(0, count, 2):
        values[row] = rng.choice(others)
        for bit in rng.choice(63, rng.integers(0, 13), replace=False):
            values[row] ^= 1 << int(bit)
    values[rng.random(count) < 0.1] = -1
    return values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("within", [False, True])
def test_pairs_are_those_of_brute_force(seed: int, within: bool) -> None:
    rng = np.random.default_rng(seed)
    others = near_values(rng, 300, rng.integers(0, 2**63, 20))
    hashes = others if within else near_values(rng, 200, others)
    distinct = np.arange(len(hashes)) + (0 if within else 1000)
    first = Fingerprints([f"a{row}" for row in range(300)], np.arange(300), others)
    second = first if within else Fingerprints([f"b{row}" for row in range(200)], distinct, hashes)
    distance = np.array([[(int(a) ^ int(b)).bit_count() for b in others] for a in hashes])
    allowed = (hashes[:, None] >= 0) & (others >= 0)
    if within:
        allowed &= np.arange(300) < np.arange(300)[:, None]
    near = allowed & (distance <= ALIKE)
    found = find_duplicates(second, first)
    assert [pair.second for pair in found.alike] == [
        second.ids[row] for row in np.flatnonzero(near.any(1))
    ]
    for pair in found.alike:
        assert near[second.ids.index(pair.second), first.ids.index(pair.first)]


@pytest.mark.parametrize("others", [0, 1, 5])
def test_empty_splits(others: int) -> None:
    none = Fingerprints([], np.zeros(0, np.int64), np.zeros(0, np.int64))
    some = Fingerprints(list("abcde")[:others], np.arange(others), np.arange(others))
    assert find_duplicates(none, some) == find_duplicates(some, none) == ([], [])


def test_large_splits_take_seconds() -> None:
    """Random hashes, and those of a fixed camera, which all look alike."""
    rng = np.random.default_rng(0)
    count = 100_000
    fixed = np.full(count, rng.integers(0, 2**63))
    for _ in range(3):
        fixed ^= 1 << rng.integers(0, 63, count)
    started = time.monotonic()
    for hashes in (rng.integers(0, 2**63, count), fixed):
        images = Fingerprints(["x"] * count, np.arange(count), hashes)
        found = find_duplicates(images, images)
    assert len(found.alike) == count - 1
    assert time.monotonic() - started < 60  # all pairs one by one would take days
