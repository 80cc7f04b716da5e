"""Scenery: backdrop, clutter, objects that look like limbs, and objects in the foreground."""

import math
from collections.abc import Sequence

import numpy as np

from hieraseg_plugins.datasets.mannequin_art import BACKGROUND, BLOTCHES, PLAIN, Array, Paint, Shape
from hieraseg_plugins.datasets.mannequin_outfit import draw_paint, draw_skin

WALL_PATTERNS = (*[PLAIN] * 6, *[BLOTCHES] * 2, 2, 3, 4, 5, 6, 7, 7)
Disc = tuple[float, float, float]


def _flat(outline: Array, paint: Paint, angle: float = 0.0) -> Shape:
    """A background shape with a texture in direction `angle` from its center."""
    low, high = outline.min(0), outline.max(0)
    axis = np.array([math.sin(angle), math.cos(angle)])
    middle = 0.5 * (low + high)
    width = float(abs((outline - middle) @ (-axis[1], axis[0])).max()) + 1e-6
    return Shape(outline, BACKGROUND, paint, middle, axis, width)


def _hull(discs: Sequence[Disc], corners: int = 24) -> Array:
    """Outline `[corners, 2]` of the convex hull of discs (x, y, radius), by support points."""
    turns = np.arange(corners) * (2 * math.pi / corners)
    directions = np.stack([np.cos(turns), np.sin(turns)], 1)
    places = np.array(discs)
    best = (directions @ places[:, :2].T + places[:, 2]).argmax(1)
    outline: Array = places[best, :2] + directions * places[best, 2:]
    return outline


def _bar(start: Array, stop: Array, radii: tuple[float, float], paint: Paint) -> Shape:
    """A tapered rod with round ends, textured along its axis."""
    outline = _hull([(*start, radii[0]), (*stop, radii[1])])
    return _flat(outline, paint, math.atan2(stop[0] - start[0], stop[1] - start[1]))


def _box(low: Array, high: Array, tilt: float = 0.0) -> Array:
    """Corners of a rectangle rotated by `tilt` radians."""
    (x, y), middle = 0.5 * (high - low), 0.5 * (high + low)
    c, s = math.cos(tilt), math.sin(tilt)
    corners = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    outline: Array = corners @ np.array([[c, s], [-s, c]]) + middle
    return outline


def _blob(rng: np.random.Generator, middle: Array, radius: float) -> Array:
    """A round, spiky or lumpy outline."""
    corners = int(rng.integers(3, 26))
    turns = np.sort(rng.uniform(0, 2 * math.pi, corners))
    radii = radius * rng.uniform(rng.uniform(0.3, 1), 1, corners)
    return middle + np.stack([np.cos(turns), np.sin(turns)], 1) * radii[:, None]


def draw_backdrop(rng: np.random.Generator, frame: Array) -> list[Shape]:
    """A wall, often with a floor and panels on it."""
    shapes = [_flat(_box(-0.1 * frame, 1.1 * frame), _surface(rng), rng.normal(0, 0.2))]
    if rng.random() < 0.4:
        shapes.append(_skyline(rng, frame))
    for _ in range(int(rng.integers(0, 4))):
        low = frame * rng.uniform(-0.2, 0.8, 2)
        panel = _box(low, low + rng.uniform(0.15, 0.7, 2))
        shapes.append(_flat(panel, _surface(rng), float(rng.choice([0, math.pi / 2]))))
    if rng.random() < 0.7:
        tilt = rng.normal(0, 0.04)
        floor = _box(frame * (-0.5, rng.uniform(0.55, 0.92)), frame * (1.5, 1.6), tilt)
        shapes.append(_flat(floor, _surface(rng), rng.uniform(0, math.pi)))
    return shapes


def _skyline(rng: np.random.Generator, frame: Array) -> Shape:
    """Hills, hedges or roofs: the area below a jagged line."""
    x = np.linspace(-0.1, 1.1, int(rng.integers(4, 40)))
    y = rng.uniform(0.2, 0.7) + rng.normal(0, 0.05, len(x)) + rng.normal(0, 0.2) * (x - 0.5)
    ridge = np.stack([x, y], 1) * frame
    return _flat(np.concatenate([ridge, frame * [[1.1, 1.1], [-0.1, 1.1]]]), _surface(rng))


def _surface(rng: np.random.Generator) -> Paint:
    """A paint of walls and floors: flat, with more noise than cloth."""
    paint = draw_paint(rng, (0.03, 0.25), WALL_PATTERNS)
    return paint._replace(grain=paint.grain * rng.uniform(1, 3))


def draw_clutter(rng: np.random.Generator, frame: Array) -> list[Shape]:
    """Random objects behind the people."""
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(3, 14))):
        middle, radius = frame * rng.uniform(0, 1, 2), 0.02 + 0.2 * rng.random() ** 2
        paint = draw_paint(rng, (0.01, 0.1), WALL_PATTERNS, float(rng.choice([0.0, 0.8])))
        if rng.random() < 0.5:
            outline = _blob(rng, middle, radius)
        else:
            extent = radius * rng.uniform(0.3, 1.2, 2)
            outline = _box(middle - extent, middle + extent, rng.normal(0, 0.3))
        shapes.append(_flat(outline, paint, rng.uniform(0, math.pi)))
    for _ in range(int(rng.integers(1, 5))):
        shapes += draw_distractor(rng, frame)
    return shapes


def draw_distractor(rng: np.random.Generator, frame: Array) -> list[Shape]:
    """An object that resembles a limb or a head: a pole, a branch, balloons."""
    paint = draw_paint(rng, (0.02, 0.06), roundness=0.8)
    if rng.random() < 0.4:
        paint = paint._replace(color=draw_skin(rng), pattern=PLAIN)
    start = frame * rng.uniform(0, 1, 2)
    radius = rng.uniform(0.01, 0.05)
    kind = rng.random()
    if kind < 0.3:  # a pole or a lamp from top to bottom
        foot = np.array([start[0] + rng.normal(0, 0.05), 1.05 * frame[1]])
        pole = _bar(start, foot, (0.5 * radius, 0.5 * radius), paint)
        return [pole, _flat(_hull([(*start, 1.5 * radius)]), paint)]
    if kind < 0.4:  # a tree
        foot, crown = start + np.array([0, 0.4]), _blob(rng, start, rng.uniform(0.08, 0.2))
        leaves = _flat(crown, _surface(rng)._replace(pattern=BLOTCHES))
        return [_bar(start, foot, (radius, radius), paint), leaves]
    if kind < 0.55:  # balloons on strings
        shapes = []
        for _ in range(int(rng.integers(1, 4))):
            middle = start + rng.normal(0, 0.08, 2)
            string = _bar(
                middle, middle + np.array([rng.normal(0, 0.05), 0.3]), (0.003, 0.003), paint
            )
            (x, y), small = middle, 0.8 * radius
            discs = [(x, y, 1.2 * radius), (x, y + small, small)]
            shapes += [string, _flat(_hull(discs), paint)]
        return shapes
    shapes, heading = [], rng.uniform(0, 2 * math.pi)
    for _ in range(int(rng.integers(1, 4))):  # a bent branch, hose or sausage
        heading += rng.normal(0, 0.8)
        length = rng.uniform(0.08, 0.25)
        stop = start + length * np.array([math.cos(heading), math.sin(heading)])
        shapes.append(_bar(start, stop, (radius, 0.8 * radius), paint))
        start, radius = stop, 0.8 * radius
    return shapes


def draw_foreground(rng: np.random.Generator, frame: Array) -> list[Shape]:
    """An object in front of all people: a table, a crate, a plant or a railing."""
    paint = draw_paint(rng, (0.03, 0.12), WALL_PATTERNS, 0.4)
    kind, x = rng.random(), rng.uniform(0.1, 0.9) * frame[0]
    if kind < 0.35:
        top, wide = rng.uniform(0.65, 0.9) * frame[1], rng.uniform(0.25, 0.7)
        legs = [np.array([x + s * 0.8 * wide, top]) for s in (-1, 1)]
        board = _box(np.array([x - wide, top]), np.array([x + wide, top + rng.uniform(0.04, 0.12)]))
        return [
            *(_bar(leg, leg + np.array([0, 1]), (0.02, 0.02), paint) for leg in legs),
            _flat(board, paint),
        ]
    if kind < 0.6:
        extent = rng.uniform(0.06, 0.22, 2)
        middle = np.array([x, rng.uniform(0.6, 1.0) * frame[1]])
        return [_flat(_box(middle - extent, middle + extent, rng.normal(0, 0.2)), paint)]
    if kind < 0.85:
        root, shapes = np.array([x, frame[1]]), []
        for heading in rng.normal(0, 0.6, int(rng.integers(5, 14))):
            tip = root + rng.uniform(0.15, 0.45) * np.array([math.sin(heading), -math.cos(heading)])
            middle = 0.5 * (root + tip)
            leaf = [(*root, 0.002), (*middle, rng.uniform(0.01, 0.035)), (*tip, 0.002)]
            shapes.append(_flat(_hull(leaf), paint, heading))
        return shapes
    y, tilt = rng.uniform(0.4, 0.9) * frame[1], rng.normal(0, 0.1)
    ends = np.array([-0.1, y - tilt]), np.array([frame[0] + 0.1, y + tilt])
    return [_bar(*ends, (rng.uniform(0.01, 0.03),) * 2, paint)]
