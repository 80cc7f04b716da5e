"""Rendering: paints, outlines, and the image and mask of a back-to-front list of shapes.

Scenes are in frame units, x to the right and y down. The frame has an area of 1, so that a scene
can be drawn at any size. Shapes are rasterized as indices on a supersampled grid and shaded
together by table lookup, with operations that IEEE 754 rounds exactly: no sin, exp or pow.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]
Color = tuple[float, float, float]
BACKGROUND = 0
LABELS = 7
OUTLINE_POINTS = 28
PERSPECTIVE = 0.25
SHORTEST_GRID_SIDE = 160
BAND = 32


class Paint(NamedTuple):
    """Appearance of a surface: two colors (0..1) mixed by a pattern, and its shading.

    Attributes:
        color: first color.
        second: second color.
        pattern: number of the pattern.
        period: size of a pattern cell in shape units.
        duty: share of the second color.
        roundness: how much brightness decreases across the shape.
        grain: signed strength of the scene's noise.
    """

    color: Color
    second: Color
    pattern: int = 0
    period: float = 0.1
    duty: float = 0.5
    roundness: float = 0.0
    grain: float = 0.1


class Shape(NamedTuple):
    """A filled outline with a label and a texture.

    Attributes:
        outline: corners `[points, 2]`.
        label: label value in the mask.
        paint: paint of the texture.
        origin: origin of the texture.
        axis: direction of the texture.
        width: half extent across the axis.
        unit: length of one texture unit.
    """

    outline: Array
    label: int
    paint: Paint
    origin: Array
    axis: Array
    width: float
    unit: float = 1.0

    def moved(self, scale: float, shift: Array) -> "Shape":
        """The shape scaled about the origin of the plane, then shifted."""
        return self._replace(
            outline=self.outline * scale + shift,
            origin=self.origin * scale + shift,
            width=self.width * scale,
            unit=self.unit * scale,
        )


class Ellipsoid(NamedTuple):
    """Center and half axes `[3, 3]` in camera coordinates (x right, y up, z towards the viewer)."""

    center: Array
    axes: Array


class Solid(NamedTuple):
    """The convex hull of one to three ellipsoids, in one paint."""

    label: int
    paint: Paint
    parts: tuple[Ellipsoid, ...]


class Group(NamedTuple):
    """Solids in drawing order, and their depth: larger is closer to the viewer."""

    depth: float
    solids: list[Solid]


def _stripes(u: Pixels, v: Pixels, duty: Pixels) -> Pixels:
    return ((u - np.floor(u)) < duty).astype(np.float32)


def _pinstripes(u: Pixels, v: Pixels, duty: Pixels) -> Pixels:
    return _stripes(v, u, duty)


def _checks(u: Pixels, v: Pixels, duty: Pixels) -> Pixels:
    return ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)


def _dots(u: Pixels, v: Pixels, duty: Pixels) -> Pixels:
    u, v = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    return ((u * u + v * v) < 0.25 * duty).astype(np.float32)


def _plaid(u: Pixels, v: Pixels, duty: Pixels) -> Pixels:
    return 0.5 * (_stripes(u, v, duty) + _stripes(v, u, duty))


def _bricks(u: Pixels, v: Pixels, duty: Pixels) -> Pixels:
    rows = 2 * u
    across = v + 0.5 * (np.floor(rows) % 2)
    joint = (across - np.floor(across) < 0.08) | (rows - np.floor(rows) < 0.16)
    return joint.astype(np.float32)


# Pattern 0 is plain. Pattern 1 is blotches, which are computed from the scene's noise.
PLAIN, BLOTCHES = 0, 1
PATTERNS: dict[int, Callable[[Pixels, Pixels, Pixels], Pixels]] = {
    2: _stripes, 3: _pinstripes, 4: _checks, 5: _dots, 6: _plaid, 7: _bricks,
}  # fmt: skip


def project(solids: Sequence[Solid]) -> list[Shape]:
    """Project solids along z to shapes outlined by the support points of their ellipsoids."""
    # Solids with fewer than three ellipsoids repeat the last one.
    parts = [[*s.parts, s.parts[-1], s.parts[-1]][:3] for s in solids]
    centers = np.array([[part.center for part in row] for row in parts])
    axes = np.array([[part.axes.T for part in row] for row in parts])
    zoom = 1 + PERSPECTIVE * centers[..., 2:]
    centers = centers[..., :2] * (1, -1) * zoom
    axes = axes[..., :2] * (1, -1) * zoom[..., None]
    turns = np.arange(OUTLINE_POINTS) * (2 * math.pi / OUTLINE_POINTS)
    directions = np.stack([np.cos(turns), np.sin(turns)])
    along = axes @ directions  # [solids, ellipsoids, axes, directions]
    reach = np.sqrt((along * along).sum(2)) + 1e-9
    best = (centers @ directions + reach).argmax(1)[:, None, :, None]
    points = centers[:, :, None] + (along / reach[:, :, None]).swapaxes(2, 3) @ axes
    outlines = np.take_along_axis(points, best, axis=1)[:, 0]
    spines = centers[:, 1] - centers[:, 0] + (0.0, 1e-4)
    spines /= np.sqrt((spines * spines).sum(1, keepdims=True))
    normals = np.stack([-spines[:, 1], spines[:, 0]], 1)[:, :, None]
    widths = abs((outlines - centers[:, :1]) @ normals).max((1, 2))
    return [
        Shape(outlines[i], solid.label, solid.paint, centers[i, 0], spines[i], float(widths[i]))
        for i, solid in enumerate(solids)
    ]


def render(
    shapes: Sequence[Shape], noise: Image.Image, size: tuple[int, int], light: tuple[float, float]
) -> tuple[Pixels, NDArray[np.uint8]]:
    """Draw shapes back to front.

    Args:
        shapes: the scene in frame units. The first shape must fill the frame.
        noise: the scene's noise, stretched over the frame.
        size: height and width in pixels.
        light: direction of the light.

    Returns:
        Image, float32 `[H, W, 3]` in 0..1, and mask, uint8 `[H, W]`.
    """
    height, width = size
    factor = max(2, -(-SHORTEST_GRID_SIDE // min(size)))
    index = _rasterise(shapes, height, width, factor)
    grid = noise.resize((width * factor, height * factor), Image.Resampling.BICUBIC)
    fine = _shade(shapes, index, np.asarray(grid), math.sqrt(height * width) * factor, light)
    picture: Pixels = reduce(np.add, _samples(fine, factor)) * np.float32(factor**-2)
    labels = np.array([shape.label for shape in shapes], np.uint8).take(index)
    return picture, _majority(_samples(labels, factor))


def _rasterise(shapes: Sequence[Shape], height: int, width: int, factor: int) -> NDArray[np.intp]:
    """Index of the visible shape at each point of the supersampled grid."""
    canvas = Image.new("I", (width * factor, height * factor), 0)
    draw = ImageDraw.Draw(canvas)
    scale = math.sqrt(height * width) * factor
    for position, shape in enumerate(shapes):
        corners = np.floor(shape.outline * scale + 1e-6).astype(int)
        draw.polygon(corners.ravel().tolist(), fill=position)
    return np.asarray(canvas).astype(np.intp)


def _samples(grid: NDArray[Any], factor: int) -> list[NDArray[Any]]:
    """Samples of all pixels of a supersampled grid: factor**2 views `[H, W, ...]`."""
    return [grid[y::factor, x::factor] for y in range(factor) for x in range(factor)]


def _majority(samples: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Most frequent label of each pixel. The middle sample breaks ties."""
    middle = samples[len(samples) // 2]
    votes = np.stack([middle == label for label in range(LABELS)]).view(np.uint8)
    for label in range(LABELS):
        for sample in samples:
            votes[label] += (sample == label).view(np.uint8) * np.uint8(2)
    return np.asarray(votes.argmax(0), np.uint8)


def _shade(
    shapes: Sequence[Shape],
    index: NDArray[np.intp],
    noise: Pixels,
    scale: float,
    light: tuple[float, float],
) -> Pixels:
    """Color at each grid point, computed in bands of rows that fit the CPU cache."""
    table = np.array([_shading_row(shape, scale, light) for shape in shapes], np.float32).T.copy()
    kinds = np.array([shape.paint.pattern for shape in shapes])
    first = np.array([shape.paint.color for shape in shapes], np.float32)
    change = np.array([shape.paint.second for shape in shapes], np.float32) - first
    picture = np.empty((*index.shape, 3), np.float32)
    for top in range(0, len(index), BAND):
        rows = slice(top, top + BAND)
        here = index[rows]
        mix, lit = _shade_band(table, kinds.take(here), here, noise[rows], top)
        mixed = first.take(here, 0) + change.take(here, 0) * mix[..., None]
        np.clip(mixed * lit[..., None], 0, 1, out=picture[rows])
    return picture


def _shade_band(
    table: Pixels, kind: NDArray[np.int_], index: NDArray[np.intp], noise: Pixels, top: int
) -> tuple[Pixels, Pixels]:
    """Share of the second color, and brightness, at each point of a band of rows."""
    ux, uy, u0, v0, across, duty, slope, roundness, grain = (row.take(index) for row in table)
    y = np.arange(top, top + len(index), dtype=np.float32)[:, None]
    x = np.arange(index.shape[1], dtype=np.float32)
    u, v = ux * x + uy * y + u0, ux * y - uy * x + v0
    mottled = noise * np.sign(grain) > 1.5 * duty - 0.75
    mix = (mottled & (kind == BLOTCHES)).astype(np.float32)
    for number, pattern in PATTERNS.items():
        here = np.flatnonzero(kind == number)
        if len(here):
            mix.flat[here] = pattern(u.take(here), v.take(here), duty.take(here))
    side = np.clip(v * across, -1, 1)
    return mix, 1 + slope * side - roundness * side * side + grain * noise


def _shading_row(shape: Shape, scale: float, light: tuple[float, float]) -> tuple[float, ...]:
    """Row of the table of `_shade` for a shape: texture axes per grid step, light and noise."""
    paint, (ax, ay), (ox, oy) = shape.paint, shape.axis, shape.origin
    cell = paint.period * shape.unit
    ux, uy = ax / (cell * scale), ay / (cell * scale)
    # The second texture axis (-ay, ax) points across the shape.
    slope = 0.5 * paint.roundness * (light[1] * ax - light[0] * ay)
    return (
        ux, uy, -(ox * ax + oy * ay) / cell, -(oy * ax - ox * ay) / cell, cell / shape.width,
        paint.duty, slope, 0.5 * paint.roundness, paint.grain,
    )  # fmt: skip
