"""Images of a user: files, Pillow images, arrays and tensors."""

from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from hieraseg import read_image
from hieraseg.data.arrays import as_rgb
from hieraseg.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
RGB[0, 0] = 255
GRAY = RGB[..., 0]
REPEATED = np.dstack([GRAY] * 3)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (RGB, RGB),
        (np.asfortranarray(RGB), RGB),
        (np.dstack([RGB, GRAY]), RGB),
        (GRAY, REPEATED),
        (GRAY[..., None], REPEATED),
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float16), RGB),
        (RGB.astype(np.uint16) * 256 + 77, RGB),
        ((GRAY.astype(np.uint16) * 256).astype(">u2"), REPEATED),
        (torch.from_numpy(RGB).permute(2, 0, 1), RGB),
        (torch.from_numpy(RGB).permute(2, 0, 1).double() / 255, RGB),
        (torch.from_numpy(GRAY), REPEATED),
        (torch.from_numpy(GRAY)[None].float().requires_grad_() / 255, REPEATED),
        (Image.fromarray(RGB), RGB),
        (Image.fromarray(GRAY), REPEATED),
        (Image.fromarray(np.dstack([RGB, GRAY])), RGB),
        (Image.fromarray((GRAY.astype(np.uint16) << 8) + 3), REPEATED),
        (Image.fromarray(GRAY.astype(np.float32) / 255), REPEATED),
    ],
)
def test_images_in_memory(image: Any, expected: np.ndarray) -> None:
    found = as_rgb(image)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous
    assert not isinstance(image, np.ndarray) or not np.shares_memory(found, image)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (RGB.transpose(2, 0, 1), "channels come first, so pass image.transpose(1, 2, 0)"),
        (torch.from_numpy(RGB), "channels come last, so pass image.permute(2, 0, 1)"),
        (RGB[None], "an array of shape (1, 5, 7, 3) is not an image; pass one image as"),
        (torch.zeros(2, 3, 4, 4), "a tensor of shape (2, 3, 4, 4) is not an image; pass one"),
        (RGB[..., :2], "an array of shape (5, 7, 2) is not an image; pass one image as"),
        (RGB.astype(int), "int64 has no known range; convert the values to uint8"),
        (RGB > 9, "bool has no known range"),
        (RGB.astype(object), "object has no known range"),
        (RGB.astype(str), "<U3 has no known range"),
        (torch.from_numpy(GRAY).int(), "int32 has no known range"),
        (RGB.astype(float), "floats must be in 0..1, got 0..255; scale them, or convert"),
        (np.full((2, 2), np.nan), "floats must be in 0..1, got nan..nan"),
        (RGB.astype(np.uint16), "the largest value of its 16 bits is 255, which is nearly black"),
        (Image.fromarray(GRAY.astype(np.uint16) * 16), "largest value of its 16 bits is 4080"),
        (Image.fromarray(GRAY.astype(np.int32)), "mode I has no known range"),
        (RGB[:0], "has no pixels (shape (0, 7, 3))"),
        (Image.new("RGB", (0, 3)), "has no pixels (size (0, 3))"),
    ],
)
def test_images_without_a_rule(image: Any, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        as_rgb(image)
    assert problem in str(caught.value)
    assert str(caught.value).startswith("image: ")
    assert "\n" not in str(caught.value)


def test_other_types() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # which would refuse them first
    try:
        with pytest.raises(DataError, match="is a list; expected a path, a Pillow image, an array"):
            as_rgb([[1, 2]])  # type: ignore[arg-type]
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_pillow_images_are_read_as_files_are(tmp_path: Path) -> None:
    """Upright, without transparency, and left as they are."""
    path = tmp_path / "photo.png"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(GRAY).convert("P").save(path, exif=exif, transparency=3)
    image = Image.open(path)
    np.testing.assert_array_equal(as_rgb(image), read_image(path))
    assert as_rgb(image).shape == (7, 5, 3)
    assert image.info["transparency"] == 3
    assert image.size == (7, 5)


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "a.png", str(tmp_path / "a.png"), "~/a.png"):
        np.testing.assert_array_equal(as_rgb(path), RGB)
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"cut\.jpg: is damaged"):
        as_rgb(tmp_path / "cut.jpg")
