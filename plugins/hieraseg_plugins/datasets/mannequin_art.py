"""Drawing: paints, outlines, and the picture and mask of a back-to-front list of shapes.

A scene is in frame units, x to the right and y down, in which the frame has an area of 1, so it
can be drawn at any size. Shapes are rasterised as indices on a supersampled grid and shaded all
at once by table look-up, with operations that IEEE 754 rounds exactly: no sin, exp or pow.
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
Colour = tuple[float, float, float]
BACKGROUND = 0
LABELS = 7
OUTLINE_POINTS = 28
PERSPECTIVE = 0.25
SHORTEST_GRID_SIDE = 160
BAND = 32


class Paint(NamedTuple):
    """Look of a surface: two colours (0..1) mixed by a pattern, and how the surface is lit.

    `period` is the size of a pattern cell in shape units, `roundness` how far brightness
    falls off across the shape, `grain` the signed strength of the scene's noise on it.
    """

    colour: Colour
    second: Colour
    pattern: int = 0
    period: float = 0.1
    duty: float = 0.5
    roundness: float = 0.0
    grain: float = 0.1


class Shape(NamedTuple):
    """A filled outline [points, 2] with a label; texture runs along `axis` from `origin`.

    `width` is the half extent across the axis and `unit` the length of one texture unit.
    """

    outline: Array
    label: int
    paint: Paint
    origin: Array
    axis: Array
    width: float
    unit: float = 1.0

    def moved(self, scale: float, shift: Array) -> "Shape":
        """This shape scaled about the origin of the plane, then shifted."""
        return self._replace(
            outline=self.outline * scale + shift,
            origin=self.origin * scale + shift,
            width=self.width * scale,
            unit=self.unit * scale,
        )


class Ellipsoid(NamedTuple):
    """An ellipsoid in camera coordinates (x right, y up, z nearer): centre and half axes [3, 3]."""

    centre: Array
    axes: Array


class Solid(NamedTuple):
    """The convex hull of one to three ellipsoids, in one paint."""

    label: int
    paint: Paint
    parts: tuple[Ellipsoid, ...]


class Group(NamedTuple):
    """Solids in drawing order and their common depth; larger is nearer to the viewer."""

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


# Pattern 0 is plain and pattern 1 is blotches, which come from the scene's noise.
PLAIN, BLOTCHES = 0, 1
PATTERNS: dict[int, Callable[[Pixels, Pixels, Pixels], Pixels]] = {
    2: _stripes, 3: _pinstripes, 4: _checks, 5: _dots, 6: _plaid, 7: _bricks,
}  # fmt: skip


def project(solids: Sequence[Solid]) -> list[Shape]:
    """The shapes of solids seen along z, outlined by the support points of their ellipsoids."""
    # Solids of fewer than three ellipsoids repeat their last one.
    parts = [[*s.parts, s.parts[-1], s.parts[-1]][:3] for s in solids]
    centres = np.array([[part.centre for part in row] for row in parts])
    axes = np.array([[part.axes.T for part in row] for row in parts])
    zoom = 1 + PERSPECTIVE * centres[..., 2:]
    centres = centres[..., :2] * (1, -1) * zoom
    axes = axes[..., :2] * (1, -1) * zoom[..., None]
    turns = np.arange(OUTLINE_POINTS) * (2 * math.pi / OUTLINE_POINTS)
    directions = np.stack([np.cos(turns), np.sin(turns)])
    along = axes @ directions  # [solids, ellipsoids, axes, directions]
    reach = np.sqrt((along * along).sum(2)) + 1e-9
    best = (centres @ directions + reach).argmax(1)[:, None, :, None]
    points = centres[:, :, None] + (along / reach[:, :, None]).swapaxes(2, 3) @ axes
    outlines = np.take_along_axis(points, best, axis=1)[:, 0]
    spines = centres[:, 1] - centres[:, 0] + (0.0, 1e-4)
    spines /= np.sqrt((spines * spines).sum(1, keepdims=True))
    normals = np.stack([-spines[:, 1], spines[:, 0]], 1)[:, :, None]
    widths = abs((outlines - centres[:, :1]) @ normals).max((1, 2))
    return [
        Shape(outlines[i], solid.label, solid.paint, centres[i, 0], spines[i], float(widths[i]))
        for i, solid in enumerate(solids)
    ]


def render(
    shapes: Sequence[Shape], noise: Image.Image, size: tuple[int, int], light: tuple[float, float]
) -> tuple[Pixels, NDArray[np.uint8]]:
    """Draw shapes back to front at `size` (height, width), lit from the direction `light`.

    Args:
        shapes: the scene in frame units; the first one must fill the frame.
        noise: the scene's noise, stretched over the frame.

    Returns:
        The picture, float32 [H, W, 3] in 0..1, and the mask, uint8 [H, W].
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
    """The index of the shape seen at each point of the supersampled grid."""
    canvas = Image.new("I", (width * factor, height * factor), 0)
    draw = ImageDraw.Draw(canvas)
    scale = math.sqrt(height * width) * factor
    for position, shape in enumerate(shapes):
        corners = np.floor(shape.outline * scale + 1e-6).astype(int)
        draw.polygon(corners.ravel().tolist(), fill=position)
    return np.asarray(canvas).astype(np.intp)


def _samples(grid: NDArray[Any], factor: int) -> list[NDArray[Any]]:
    """The samples of every pixel of a supersampled grid: factor squared views [H, W, ...]."""
    return [grid[y::factor, x::factor] for y in range(factor) for x in range(factor)]


def _majority(samples: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The commonest label of each pixel; a tie goes to its middle sample."""
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
    """The colour at each grid point, computed in bands of rows that fit the processor's cache."""
    table = np.array([_shading_row(shape, scale, light) for shape in shapes], np.float32).T.copy()
    kinds = np.array([shape.paint.pattern for shape in shapes])
    first = np.array([shape.paint.colour for shape in shapes], np.float32)
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
    """How much of the second colour, and how much light, is at each point of a band of rows."""
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
    """What `_shade` looks up for a shape: texture axes per grid step, then light and noise."""
    paint, (ax, ay), (ox, oy) = shape.paint, shape.axis, shape.origin
    cell = paint.period * shape.unit
    ux, uy = ax / (cell * scale), ay / (cell * scale)
    # The second texture axis (-ay, ax) points across the shape.
    slope = 0.5 * paint.roundness * (light[1] * ax - light[0] * ay)
    return (
        ux, uy, -(ox * ax + oy * ay) / cell, -(oy * ax - ox * ay) / cell, cell / shape.width,
        paint.duty, slope, 0.5 * paint.roundness, paint.grain,
    )  # fmt: skip
