"""Images: people and scenery by depth, rendered, with the effects of a camera."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hieraseg_plugins.datasets.mannequin_art import Array, Pixels, Shape, render
from hieraseg_plugins.datasets.mannequin_figure import draw_figure
from hieraseg_plugins.datasets.mannequin_scene import (
    draw_backdrop,
    draw_clutter,
    draw_distractor,
    draw_foreground,
)


def draw_picture(
    rng: np.random.Generator, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a scene and apply the effects of a camera.

    Args:
        rng: source of randomness.
        size: height and width in pixels.

    Returns:
        Image, uint8 RGB `[H, W, 3]`, and mask, uint8 `[H, W]`.
    """
    height, width = size
    frame = np.array([math.sqrt(width / height), math.sqrt(height / width)])
    shapes = [*draw_backdrop(rng, frame), *draw_clutter(rng, frame)]
    for figure in _people(rng, frame):
        shapes += figure
        if rng.random() < 0.35:
            shapes += draw_distractor(rng, frame)
    if rng.random() < 0.45:
        shapes += draw_foreground(rng, frame)
    angle = rng.uniform(0, 2 * math.pi)
    light = math.cos(angle), math.sin(angle)
    picture, mask = render(shapes, _draw_noise(rng), size, light)
    return _photograph(rng, picture), mask


def _people(rng: np.random.Generator, frame: Array) -> list[list[Shape]]:
    """One to four figures, the smallest first. Slots along x keep most of them apart."""
    count = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.18, 0.12]))
    slots = (rng.permutation(count) + 0.5) / count + rng.normal(0, 0.1, count)
    people = []
    for slot in slots:
        shapes, head = draw_figure(rng)
        points = np.concatenate([shape.outline for shape in shapes])
        low, high = points.min(0), points.max(0)
        crowd = 1.0 if count < 3 else 0.8
        shot = rng.choice(["far", "full", "half", "bust"], p=[0.08, 0.5, 0.27, 0.15])
        lies = high[0] - low[0] > high[1] - low[1]
        if lies or shot in ("far", "full"):
            share = crowd * (rng.uniform(0.35, 0.55) if shot == "far" else rng.uniform(0.65, 1.05))
            scale = share * min(frame[1] / max(high[1] - low[1], 0.7), 1.3 * frame[0])
            y = rng.uniform(max(0.82, share), 1.1) * frame[1] - high[1] * scale
        else:
            scale = crowd * frame[1] * rng.uniform(*((1.0, 1.6) if shot == "half" else (1.8, 2.8)))
            y = rng.uniform(0.12, 0.35) * frame[1] - head[1] * scale
        x = slot.clip(0.1, 0.9) * frame[0] - 0.5 * (head[0] + 0.5 * (low[0] + high[0])) * scale
        people.append((scale, [shape.moved(scale, np.array([x, y])) for shape in shapes]))
    return [shapes for _, shapes in sorted(people, key=lambda person: person[0])]


def _draw_noise(rng: np.random.Generator) -> Image.Image:
    """Value noise of five octaves, about -1..1, as a float image."""
    field = Image.fromarray(rng.uniform(-1, 1, (5, 5)).astype(np.float32))
    for side in (10, 20, 40, 80):
        finer = rng.uniform(-1, 1, (side, side)).astype(np.float32)
        smooth = np.asarray(field.resize((side, side), Image.Resampling.BICUBIC))
        field = Image.fromarray(smooth + finer * np.float32(0.6 * (5 / side) ** 0.5))
    return field


def _photograph(rng: np.random.Generator, picture: Pixels) -> NDArray[np.uint8]:
    """Apply the effects of a camera: uneven light, tone, blur, sensor noise and JPEG artifacts."""
    height, width, _ = picture.shape
    corners = Image.fromarray(rng.uniform(0.7, 1.25, (2, 2)).astype(np.float32))
    gradient = np.asarray(corners.resize((width, height), Image.Resampling.BILINEAR))
    tone = rng.normal(1.0, 0.05, 3) * rng.uniform(0.75, 1.2)
    contrast, pivot = rng.uniform(0.65, 1.2), rng.uniform(0.35, 0.6)
    blur = rng.uniform(0.0, 0.006) * math.sqrt(height * width)
    strength = rng.uniform(0.0, 0.04)
    quality = int(rng.integers(35, 95)) if rng.random() < 0.6 else None
    picture = picture * gradient[..., None] * tone.astype(np.float32)
    picture = pivot + (picture - pivot) * np.float32(contrast)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(blur))).astype(np.float32)
    soft += rng.standard_normal(picture.shape, np.float32) * np.float32(255 * strength)
    pixels: NDArray[np.uint8] = np.clip(soft + 0.5, 0, 255).astype(np.uint8)
    if quality is None:
        return pixels
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream).convert("RGB"))
