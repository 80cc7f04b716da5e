"""Images and class maps as text that a page holds."""

import base64
import io
import zlib

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from hieraseg.hierarchy import IGNORE_INDEX

_QUALITY = 85


def jpeg(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """An image as a `data:` URL."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{_base64(content.getvalue())}"


def class_maps(levels: Integer[np.ndarray, "levels H W"]) -> str:
    """The classes of all levels, without loss, and so that scripts can read them.

    They could not read a PNG: some browsers add noise to the pixels that scripts get.

    Returns:
        Base64 of the zlib stream of all class indices plus 1, little-endian uint16, level by
        level and row by row. Ignored pixels have 0.
    """
    indices = np.where(levels == IGNORE_INDEX, 0, levels + 1).astype("<u2")
    return _base64(zlib.compress(indices.tobytes(), 9))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
