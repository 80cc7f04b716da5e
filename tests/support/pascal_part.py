"""A tiny folder in the layout of Pascal-Part, generated."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("bg", "low_hand", "torso", "low_leg", "head", "up_leg", "up_hand")


def write_pascal_folder(
    root: Path,
    images: int = 12,
    holdout: int = 3,
    size: tuple[int, int] = (48, 40),
    seed: int = 0,
) -> Path:
    """Write the folder; every file differs a little from `size` (height, width), and has all parts.

    Args:
        root: the folder; made where it does not exist.
        images: ids in `train_id.txt`, of which 2400 / 2826 are the split `train`.
        holdout: ids in `val_id.txt`.
        size: height and width of the first image.
        seed: of the pictures.
    """
    (root / "JPEGImages").mkdir(parents=True)
    (root / "gt_masks").mkdir()
    rng = np.random.default_rng(seed)
    ids = [f"2008_{number:06}" for number in range(images + holdout)]
    for number, id in enumerate(ids):
        height, width = size[0] + number % 3 * 2, size[1] + number % 2 * 6
        mask = _mask(height, width, rng)
        colours = rng.integers(0, 256, (len(CLASSES), 3))
        pixels = colours[mask] + rng.normal(0, 8, (height, width, 3))
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        picture.save(root / "JPEGImages" / f"{id}.jpg", quality=95)
        np.save(root / "gt_masks" / f"{id}.npy", mask)
    write_list(root / "classes.txt", [f"{i}: {name}" for i, name in enumerate(CLASSES)])
    write_list(root / "train_id.txt", ids[:images])
    write_list(root / "val_id.txt", ids[images:])
    return root


def write_list(path: Path, lines: list[str]) -> None:
    """A text file as Pascal-Part has them: CRLF between the lines, none at the end."""
    path.write_bytes("\r\n".join(lines).encode())


def _mask(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A figure of all six parts at a random place, on background."""
    mask = np.zeros((height, width), np.uint8)
    top, left = int(rng.integers(0, height // 6 + 1)), int(rng.integers(0, width // 4 + 1))
    tall, wide = height * 3 // 4, width * 2 // 3
    # label, and top, bottom, left and right as shares of the figure
    boxes = (
        (4, 0.0, 0.2, 0.35, 0.65),
        (2, 0.2, 0.55, 0.25, 0.75),
        (6, 0.2, 0.4, 0.0, 0.25),
        (1, 0.4, 0.6, 0.0, 0.25),
        (5, 0.55, 0.8, 0.25, 0.75),
        (3, 0.8, 1.0, 0.25, 0.75),
    )
    for label, above, below, before, behind in boxes:
        rows = slice(top + int(above * tall), top + int(below * tall))
        columns = slice(left + int(before * wide), left + int(behind * wide))
        mask[rows, columns] = label
    return mask
