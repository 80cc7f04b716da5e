"""A tiny generated folder in the layout of Pascal-Part."""

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
    """Write a data set folder. Every mask has all parts, and sizes of images differ slightly.

    Args:
        root: folder to create.
        images: number of ids in `train_id.txt`, of which 2400 / 2826 are the split `train`.
        holdout: number of ids in `val_id.txt`.
        size: height and width of the first image.
        seed: seed of the images.

    Returns:
        The folder.
    """
    (root / "JPEGImages").mkdir(parents=True)
    (root / "gt_masks").mkdir()
    rng = np.random.default_rng(seed)
    ids = [f"2008_{number:06}" for number in range(images + holdout)]
    for number, id in enumerate(ids):
        height, width = size[0] + number % 3 * 2, size[1] + number % 2 * 6
        mask = _mask(height, width, rng)
        colors = rng.integers(0, 256, (len(CLASSES), 3))
        pixels = colors[mask] + rng.normal(0, 8, (height, width, 3))
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(root / "JPEGImages" / f"{id}.jpg", quality=95)
        np.save(root / "gt_masks" / f"{id}.npy", mask)
    write_list(root / "classes.txt", [f"{i}: {name}" for i, name in enumerate(CLASSES)])
    write_list(root / "train_id.txt", ids[:images])
    write_list(root / "val_id.txt", ids[images:])
    return root


def write_list(path: Path, lines: list[str]) -> None:
    """Write a text file like those of Pascal-Part: CRLF between lines, and none at the end."""
    path.write_bytes("\r\n".join(lines).encode())


def _mask(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A figure with all six parts at a random position, on background."""
    mask = np.zeros((height, width), np.uint8)
    top, left = int(rng.integers(0, height // 6 + 1)), int(rng.integers(0, width // 4 + 1))
    tall, wide = height * 3 // 4, width * 2 // 3
    # Label, and top, bottom, left and right as fractions of the figure.
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
