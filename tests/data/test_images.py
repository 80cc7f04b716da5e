"""Reading of image and mask files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hieraseg.data.images import read_image, read_mask, resize
from hieraseg.errors import DataError


def test_exif_orientation_is_applied_only_on_request(tmp_path: Path) -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), pixels)
    upright = read_image(path, apply_exif_orientation=True)
    np.testing.assert_array_equal(upright, np.rot90(pixels, -1))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_images_of_every_mode_are_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.tif"
    Image.new(mode, (5, 3)).save(path)
    image = read_image(path)
    assert image.shape == (3, 5, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("name", ["mask.png", "mask.npy"])
def test_masks_keep_their_labels(tmp_path: Path, name: str) -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(8, 32)
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, mask)
    else:
        Image.fromarray(mask).save(path)
    np.testing.assert_array_equal(read_mask(path), mask)


def test_missing_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jpg: no such image$"):
        read_image(tmp_path / "missing.jpg")


def test_file_that_is_not_an_image(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_bytes(b"notes")
    with pytest.raises(DataError, match=r"notes\.jpg: is damaged \(not an image\); copy the file"):
        read_image(path)


def test_resize_to_the_same_size_copies_nothing() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    assert resize(pixels, (4, 6), Image.Resampling.BILINEAR) is pixels
    assert resize(pixels, (2, 3), Image.Resampling.BILINEAR).shape == (2, 3, 3)
    assert resize(pixels[..., 0], (8, 5), Image.Resampling.NEAREST).shape == (8, 5)
