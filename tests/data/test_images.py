"""Reading of image and mask files."""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import hieraseg
from hieraseg.data.images import read_color_mask, read_image, read_mask, resize
from hieraseg.errors import DataError

RNG = np.random.default_rng(0)


def png(path: Path, values: np.ndarray, bits: int) -> Path:
    """Write a PNG of so many bits by hand, since Pillow does not write all kinds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    values = values[..., None] if values.ndim == 2 else values
    height, width, channels = values.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    digits = values[..., None] >> np.arange(bits)[::-1] & 1
    rows = np.packbits(digits.reshape(height, -1).astype(bool), axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def rejected(read: Any, path: Path) -> str:
    """The message of a refusal: one line that starts with the path."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_readers_are_public() -> None:
    assert hieraseg.read_image is read_image
    assert hieraseg.read_mask is read_mask
    assert hieraseg.read_color_mask is read_color_mask


# Orientation.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_images_are_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    pixels = np.kron(RNG.integers(0, 2, (3, 2, 3)), np.ones((16, 16, 1))) * 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(pixels.astype(np.uint8)).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape == ((48, 32, 3) if orientation < 5 else (32, 48, 3))
    np.testing.assert_array_equal(read_image(path), expected)


def test_orientation_of_gray_16_bit_images_and_of_masks(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.uint16).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.fromarray(values << 8).save(tmp_path / "16.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "16.png")[..., 0], np.rot90(values, -1))
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), np.rot90(values, -1))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\xff\0\x06\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\xff\xff\0\0\0\0\0\0",
        b"Exif\0\0",
    ],
)
def test_damaged_exif_is_ignored(tmp_path: Path, exif: bytes) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (5, 3), (200, 0, 0)).save(path, exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (3, 5, 3)


def test_orientation_counts_although_other_exif_is_damaged(tmp_path: Path) -> None:
    # Two entries: orientation 6, and a string that lies beyond the end.
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x010F, 2, 999, 9999)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + b"\0\0\0\0"
    Image.new("RGB", (5, 3)).save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(tmp_path / "photo.jpg").shape == (5, 3, 3)


# Images of every kind.


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16"])
def test_images_of_every_mode_are_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.tif"
    Image.new(mode, (5, 3)).save(path)
    image = read_image(path)
    assert image.shape == (3, 5, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("name", ["gray.png", "gray.tif", "gray.pgm"])
def test_16_bits_are_shifted_by_8(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 255, 256, 90 * 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image[..., 0].tolist() == image[..., 2].tolist() == [[0, 0, 1, 90, 255]]


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bits_per_channel(tmp_path: Path, channels: int) -> None:
    values = np.array([[[90 * 256 + 200, 255, 65535, 0][:channels]]])
    expected = [90, 0, 255] if channels > 2 else [90, 90, 90]
    assert read_image(png(tmp_path / "color.png", values, 16)).tolist() == [[expected]]
    assert "is not a mask" in rejected(read_mask, tmp_path / "color.png")


def test_16_bits_of_other_files(tmp_path: Path) -> None:
    colors = np.array([[[90 * 257, 0, 65535]]], ">u2")
    (tmp_path / "color.ppm").write_bytes(b"P6 1 1 65535\n" + colors.tobytes())
    assert read_image(tmp_path / "color.ppm").tolist() == [[[90, 0, 255]]]
    big = Image.fromarray(np.array([[90 * 257]], ">u2"))
    big.save(tmp_path / "big.tif")
    assert read_image(tmp_path / "big.tif").tolist() == [[[90, 90, 90]]]


def test_floats_in_0_to_1_are_scaled_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.array([[0, 90 / 255, 1]], np.float32)).save(path)
    assert read_image(path)[0, :, 1].tolist() == [0, 90, 255]
    for value in (1.5, -0.1, 90.0, np.nan, np.inf):
        Image.fromarray(np.array([[0, value]], np.float32)).save(path)
        assert "must be in 0..1" in rejected(read_image, path)


def test_32_bit_integers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "int.tif"
    Image.fromarray(np.array([[0, 90]], np.int32)).save(path)
    assert "mode I has no known range" in rejected(read_image, path)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_tiffs_with_0_for_white_are_not_read_inverted(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "inverted.tif"
    Image.fromarray(np.zeros((1, 2), dtype)).save(path, tiffinfo={262: 0})
    assert "stored inverted" in rejected(read_image, path)


def test_programs_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "program.jpg"
    Image.new("RGB", (4, 4)).save(path, "EPS")
    assert "not an image" in rejected(read_image, path)


def test_low_bit_gray_images_use_the_whole_range(tmp_path: Path) -> None:
    path = png(tmp_path / "gray.png", np.array([[0, 1, 2, 3]]), 2)
    assert read_image(path)[0, :, 0].tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_dropped(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.png"
    Image.new(mode, (2, 1), (90, 0) if mode == "LA" else (90, 90, 90, 0)).save(path)
    assert read_image(path).tolist() == [[[90, 90, 90]] * 2]


def tiff(
    path: Path,
    pixels: np.ndarray,
    others: tuple[int, ...],
    photometric: int = 2,
    separate: bool = False,
) -> Path:
    """Write a TIFF by hand.

    Args:
        path: the file.
        pixels: `[H, W, bands]` of any unsigned type.
        others: kind of each band behind the colors (0 is unspecified).
        photometric: 2 for RGB, 1 for gray.
        separate: whether bands are stored one after the other.
    """
    height, width, bands = pixels.shape
    planes = list(pixels.transpose(2, 0, 1)) if separate else [pixels]
    size, count = pixels.nbytes // len(planes), len(planes)
    tags = {
        256: [width],
        257: [height],
        258: [8 * pixels.itemsize] * bands,
        259: [1],
        262: [photometric],
        273: [0] * count,
        277: [bands],
        278: [height],
        279: [size] * count,
        284: [2 if separate else 1],
        **({338: list(others)} if others else {}),
    }
    long = {tag: 4 * len(values) for tag, values in tags.items() if len(values) > 1}
    end = 8 + 2 + 12 * len(tags) + 4
    tags[273] = [end + sum(long.values()) + size * plane for plane in range(count)]
    table, extra = struct.pack("<H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        value = struct.pack(f"<{len(values)}I", *values)
        if tag in long:
            value, extra = struct.pack("<I", end + len(extra)), extra + value
        table += struct.pack("<HHI", tag, 4, len(values)) + value
    content = b"".join(plane.tobytes() for plane in planes)
    path.write_bytes(b"II*\0\x08\0\0\0" + table + b"\0\0\0\0" + extra + content)
    return path


@pytest.mark.parametrize("others", [(0,), (0, 0), (2, 0)])
def test_bands_that_are_neither_colors_nor_alpha_are_refused(
    tmp_path: Path, others: tuple[int, ...]
) -> None:
    """Pillow would leave them out without a word."""
    pixels = RNG.integers(0, 255, (2, 3, 3 + len(others)), np.uint8)
    path = tiff(tmp_path / "bands.tif", pixels, others)
    expected = f"the image has {3 + len(others)} bands, of which 3 are colors; save the three"
    assert expected in rejected(read_image, path)
    path = tiff(path, pixels[..., :4], (2,))
    np.testing.assert_array_equal(read_image(path), pixels[..., :3])


def test_a_band_without_a_kind_is_refused(tmp_path: Path) -> None:
    """Pillow would take it for padding, although it may be infrared."""
    path = tiff(tmp_path / "bands.tif", RNG.integers(0, 255, (2, 3, 4), np.uint8), ())
    assert "has 4 bands, of which 3 are colors; save the three" in rejected(read_image, path)


@pytest.mark.parametrize(("bands", "dtype"), [(2, np.uint16), (3, np.uint8), (8, np.uint16)])
def test_tiffs_of_bands_that_pillow_does_not_read(
    tmp_path: Path, bands: int, dtype: type[np.unsignedinteger[Any]]
) -> None:
    """GDAL writes 16-bit RGB so, unless it is told that the bands are colors."""
    pixels = np.zeros((2, 3, bands), dtype)
    path = tiff(tmp_path / "bands.tif", pixels, (0,) * (bands - 1), photometric=1)
    message = rejected(read_image, path)
    assert f"is a TIFF with {bands} bands of a kind that Pillow does not read; save" in message


@pytest.mark.parametrize("read", [read_image, lambda path: read_color_mask(path, {(0, 0, 0): 0})])
def test_separate_bands_of_16_bits_are_refused(
    tmp_path: Path, read: Callable[[Path], np.ndarray]
) -> None:
    """Pillow would take their bytes for pixels."""
    pixels = RNG.integers(0, 65_536, (2, 3, 3), np.uint16)
    path = tiff(tmp_path / "bands.tif", pixels, (), separate=True)
    assert "the bands of more than 8 bits are stored one after the other" in rejected(read, path)
    path = tiff(path, pixels, ())
    np.testing.assert_array_equal(read_image(path), pixels >> 8)
    small = (pixels >> 8).astype(np.uint8)
    path = tiff(path, small, (), separate=True)
    np.testing.assert_array_equal(read_image(path), small)


@pytest.mark.parametrize("transparency", [1, b"\0\x80"])
def test_palette_images_with_transparency(tmp_path: Path, transparency: Any) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([200, 10, 20, 30, 40, 50])
    image.save(tmp_path / "palette.png", transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "palette.png").tolist() == [[[200, 10, 20], [30, 40, 50]]]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_images_are_not_inverted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"print.{suffix}"
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    cyan.save(path)  # as Adobe programs do, Pillow inverts the values in a JPEG
    red, green, blue = read_image(path)[8, 8].tolist()
    assert red < 10
    assert min(green, blue) > 245


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp"])
def test_the_first_frame_is_read(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 4), color) for color in ((255, 0, 0), (0, 0, 255))]
    path = tmp_path / f"film.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **_lossless(suffix))
    assert read_image(path)[0, 0].tolist() == [255, 0, 0]


def _lossless(suffix: str) -> dict[str, Any]:
    return {"lossless": True} if suffix == "webp" else {}


def test_pixels_can_be_written_and_cause_no_warning_in_torch(tmp_path: Path) -> None:
    Image.new("L", (5, 3)).save(tmp_path / "image.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_image, read_mask):
            pixels: np.ndarray = read(tmp_path / "image.png")
            assert torch.from_numpy(pixels).shape[:2] == (3, 5)
            pixels[:] = 1


# Files that cannot be used.


def test_missing_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jpg: no such image$"):
        read_image(tmp_path / "missing.jpg")


def test_folder(tmp_path: Path) -> None:
    assert "cannot be read (Is a directory)" in rejected(read_image, tmp_path)


def test_file_that_is_not_an_image(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_bytes(b"notes")
    with pytest.raises(DataError, match=r"notes\.jpg: is damaged, or not an image that Pillow"):
        read_image(path)


@pytest.mark.parametrize("limit", [10, 8])
def test_image_above_the_limit_of_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (17, 1)).save(path)  # Pillow itself only warns of up to twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_image, read_mask):
            assert f"is larger than {limit} pixels" in rejected(read, path)


def test_image_that_needs_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (5, 3)).save(path)

    def load(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    assert "needs more memory than there is" in rejected(read_image, path)


def test_damaged_files_of_every_format_are_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    image = Image.fromarray(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    for suffix in ("png", "jpg", "tif", "gif", "bmp", "webp", "ppm"):
        content = io.BytesIO()
        image.save(content, "jpeg" if suffix == "jpg" else "tiff" if suffix == "tif" else suffix)
        whole = content.getvalue()
        for _ in range(20):
            changed = bytearray(whole[: RNG.integers(1, len(whole) + 1)])
            for place in RNG.integers(0, len(changed), 4):
                changed[place] = RNG.integers(0, 256)
            path.write_bytes(changed)
            for read in (read_image, read_mask):
                with suppress(DataError):  # any other error fails the test
                    assert read(path).ndim == (3 if read is read_image else 2)


def test_threads_can_read_at_once(tmp_path: Path) -> None:
    Image.new("RGB", (5, 3), (1, 2, 3)).save(tmp_path / "image.png")
    before = list(warnings.filters)
    found: list[np.ndarray] = []

    def work() -> None:
        found.extend(read_image(tmp_path / "image.png") for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 200
    assert warnings.filters == before


# Masks.


@pytest.mark.parametrize("name", ["mask.png", "mask.npy", "mask.tif", "mask.pgm", "mask.bmp"])
def test_masks_keep_their_labels(tmp_path: Path, name: str) -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(8, 32)
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, mask)
    else:
        Image.fromarray(mask).save(path)
    found = read_mask(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_low_bit_gray_masks_keep_their_labels(tmp_path: Path, bits: int) -> None:
    labels = np.arange(2**bits).reshape(1, -1)
    found = read_mask(png(tmp_path / "mask.png", labels, bits))
    assert found.dtype == np.uint8
    assert found.tolist() == labels.tolist()


@pytest.mark.parametrize("largest", [1, 6, 15, 200, 300, 4095])
@pytest.mark.parametrize("plain", [False, True])
def test_gray_masks_with_another_white_keep_their_labels(
    tmp_path: Path, largest: int, plain: bool
) -> None:
    labels = np.arange(largest + 1)
    if plain:
        pixels = " ".join(map(str, labels)).encode()
    else:
        pixels = labels.astype(np.uint8 if largest < 256 else ">u2").tobytes()
    header = f"{'P2' if plain else 'P5'} {largest + 1} 1 {largest}\n".encode()
    (tmp_path / "mask.pgm").write_bytes(header + pixels)
    assert read_mask(tmp_path / "mask.pgm").tolist() == [labels.tolist()]


@pytest.mark.parametrize("colors", [2, 4, 16, 200])
def test_palette_masks_are_indices(tmp_path: Path, colors: int) -> None:
    labels = np.arange(colors, dtype=np.uint8)[None]
    image = Image.fromarray(labels)
    image.putpalette(RNG.integers(0, 256, colors * 3, dtype=np.uint8).tobytes())
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), labels)


def test_black_and_white_masks_are_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[0, 1]]


@pytest.mark.parametrize("name", ["mask.png", "mask.npy", "mask.tif"])
def test_16_bit_masks(tmp_path: Path, name: str) -> None:
    mask = np.array([[0, 255, 256, 300, 65535]], np.uint16)
    if name.endswith("npy"):
        np.save(tmp_path / name, mask)
    else:
        Image.fromarray(mask).save(tmp_path / name)
    found = read_mask(tmp_path / name)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("dtype", [np.int8, ">u2", np.int32, np.uint32, ">i8", np.uint64])
def test_arrays_are_narrowed_without_loss(tmp_path: Path, dtype: Any) -> None:
    highest = 127 if dtype == np.int8 else 300
    np.save(tmp_path / "mask.npy", np.array([[0, 5, highest]], dtype))
    found = read_mask(tmp_path / "mask.npy")
    assert found.dtype == (np.uint8 if highest == 127 else np.uint16)
    assert found.dtype.isnative
    assert found.tolist() == [[0, 5, highest]]


@pytest.mark.parametrize("value", [-1, 65536, 2**40])
def test_labels_out_of_range_are_refused(tmp_path: Path, value: int) -> None:
    np.save(tmp_path / "mask.npy", np.array([[3, value]]))
    message = rejected(read_mask, tmp_path / "mask.npy")
    assert f"labels must be in 0..65535, got {min(3, value)}..{max(3, value)}" in message


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros((2, 2, 1), int), np.array(5)])
def test_arrays_that_are_no_masks(tmp_path: Path, mask: np.ndarray) -> None:
    np.save(tmp_path / "mask.npy", mask)
    assert "is not a mask" in rejected(read_mask, tmp_path / "mask.npy")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "F"])
def test_images_that_are_no_masks(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "mask.tif")
    assert f"an image of mode {mode} is not a mask" in rejected(read_mask, tmp_path / "mask.tif")


def test_a_jpeg_is_no_mask(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "mask.jpg")
    assert "compression changes labels" in rejected(read_mask, tmp_path / "mask.jpg")


def test_a_gif_is_no_mask(tmp_path: Path) -> None:
    """Pillow saves the labels 0, 1 and 3 as the indices 0, 1 and 2 of a palette."""
    Image.fromarray(np.array([[0, 1], [3, 3]], np.uint8)).save(tmp_path / "mask.gif")
    assert "palette changes labels" in rejected(read_mask, tmp_path / "mask.gif")


# Masks of colors.

COLORS = {(0, 0, 0): 255, (0, 0, 1): 0, (255, 255, 255): 1, (128, 64, 128): 2, (64, 128, 128): 2}


def color_image(shape: tuple[int, int]) -> tuple[Image.Image, list[list[int]]]:
    """A random image with those colors, and its labels."""
    keys = np.array(list(COLORS), np.uint8)
    pixels = keys[RNG.integers(0, len(keys), shape)]
    return Image.fromarray(pixels), [[COLORS[tuple(one)] for one in row] for row in pixels.tolist()]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((f"mask.{suffix}", "RGB") for suffix in ("png", "tif", "bmp", "ppm")),
        *((f"mask.{suffix}", mode) for suffix in ("png", "tif") for mode in ("RGBA", "P")),
    ],
)
def test_colors_are_labels(tmp_path: Path, name: str, mode: str) -> None:
    image, labels = color_image((7, 5))
    converted = image.quantize(len(COLORS)) if mode == "P" else image.convert(mode)
    if mode == "RGBA":
        converted.putalpha(0)  # transparency does not count
    converted.save(tmp_path / name)
    with Image.open(tmp_path / name) as saved:
        assert saved.mode == mode
    found = read_color_mask(tmp_path / name, COLORS)
    assert found.dtype == np.uint8
    assert found.tolist() == labels


def test_labels_of_colors_can_have_16_bits(tmp_path: Path) -> None:
    image, labels = color_image((3, 4))
    image.save(tmp_path / "mask.png")
    found = read_color_mask(
        tmp_path / "mask.png", {key: value + 300 for key, value in COLORS.items()}
    )
    assert found.dtype == np.uint16
    assert (found - 300).tolist() == labels


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_black_and_white_are_colors(tmp_path: Path, mode: str) -> None:
    pixels = np.array([[0, 255], [255, 0]], np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "mask.png")
    assert read_color_mask(tmp_path / "mask.png", COLORS).tolist() == [[255, 1], [1, 255]]


def test_masks_of_colors_are_upright(tmp_path: Path) -> None:
    image, labels = color_image((2, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "mask.png", exif=exif)
    found = read_color_mask(tmp_path / "mask.png", COLORS)
    np.testing.assert_array_equal(found, np.rot90(labels, -1))


def test_unknown_colors_are_named_with_their_place(tmp_path: Path) -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[2, 3:] = pixels[3, 1] = [1, 0, 0]
    pixels[3, 2] = [2, 0, 0]
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    message = rejected(lambda path: read_color_mask(path, COLORS), tmp_path / "mask.png")
    assert message.endswith(
        "the color [1, 0, 0], at row 2, column 3 and in 3 pixels, is not in the table of colors "
        "(nor are [2, 0, 0]); add them, or fix the mask"
    )


@pytest.mark.parametrize(
    ("name", "mode", "problem"),
    [
        ("mask.jpg", "RGB", "a JPEG file is not a mask, since its compression changes colors"),
        ("mask.webp", "RGB", "a WEBP file is not a mask, since its compression changes colors"),
        ("mask.tif", "CMYK", "an image of mode CMYK is no mask of colors"),
        ("mask.tif", "F", "an image of mode F with 32 bits is no mask of colors"),
        ("mask.png", "I;16", "an image of mode I;16 with 16 bits is no mask of colors"),
    ],
)
def test_images_that_are_no_masks_of_colors(
    tmp_path: Path, name: str, mode: str, problem: str
) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / name)
    assert problem in rejected(lambda path: read_color_mask(path, COLORS), tmp_path / name)


def test_colors_of_16_bits_are_refused(tmp_path: Path) -> None:
    path = png(tmp_path / "mask.png", np.full((2, 2, 3), 128), 16)
    message = rejected(lambda path: read_color_mask(path, COLORS), path)
    assert "an image of mode RGB with 16 bits is no mask of colors" in message


def test_arrays_are_no_masks_of_colors(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.zeros((2, 2, 3), np.uint8))
    message = rejected(lambda path: read_color_mask(path, COLORS), tmp_path / "mask.npy")
    assert "not an image that Pillow reads" in message


def test_resize_to_the_same_size_copies_nothing() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    assert resize(pixels, (4, 6), Image.Resampling.BILINEAR) is pixels
    assert resize(pixels, (2, 3), Image.Resampling.BILINEAR).shape == (2, 3, 3)
    assert resize(pixels[..., 0], (8, 5), Image.Resampling.NEAREST).shape == (8, 5)


def test_resizing_a_wide_mask_keeps_its_labels() -> None:
    mask = np.array([[0, 300], [65535, 255]], np.uint16)
    resized = resize(mask, (4, 4), Image.Resampling.NEAREST)
    assert resized.dtype == np.uint16
    np.testing.assert_array_equal(resized, mask.repeat(2, 0).repeat(2, 1))
