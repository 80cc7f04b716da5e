"""Poses of an articulated figure: joint angles within human limits, and forward kinematics.

Lengths are in body heights, angles in degrees. Frames are in camera coordinates: x to the right, y
up, z towards the viewer. In its own frame, the bone of a limb points along -y, and the figure faces
+z. Side +1 is the limb at +x, side -1 the limb at -x.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hieraseg_plugins.datasets.mannequin_art import Array, Ellipsoid

Point = tuple[float, float, float]
Range = tuple[float, float]
Side = int
SIDES: tuple[Side, Side] = (-1, 1)

# flexion (forwards), abduction (sideways), inward twist, bend of the elbow
ARM_POSES: dict[str, tuple[Range, Range, Range, Range]] = {
    "hang": ((-15, 20), (3, 16), (0, 30), (5, 35)),
    "swing": ((-40, 40), (3, 12), (0, 25), (20, 80)),
    "hips": ((-25, -5), (38, 58), (75, 100), (85, 110)),
    "pocket": ((-30, -10), (12, 25), (25, 50), (30, 55)),
    "crossed": ((20, 42), (0, 10), (62, 85), (95, 115)),
    "reach": ((50, 110), (0, 25), (0, 30), (0, 45)),
    "raised": ((145, 180), (0, 35), (0, 60), (0, 70)),
    "wave": ((0, 20), (60, 110), (-130, -80), (50, 110)),
    "spread": ((-10, 15), (65, 105), (0, 60), (0, 30)),
    "face": ((40, 85), (0, 20), (15, 45), (115, 142)),
    "behind": ((-35, -20), (10, 25), (60, 90), (50, 80)),
}
ARM_WEIGHTS: dict[str, float] = {
    "hang": 0.26,
    "hips": 0.12,
    "pocket": 0.06,
    "crossed": 0.1,
    "reach": 0.12,
    "raised": 0.12,
    "wave": 0.08,
    "spread": 0.06,
    "face": 0.06,
    "behind": 0.02,
}
# flexion, abduction, inward twist, bend of the knee
LEG_POSES: dict[str, tuple[Range, Range, Range, Range]] = {
    "straight": ((-6, 8), (2, 13), (-20, 5), (0, 10)),
    "wide": ((-4, 10), (14, 28), (-25, 0), (0, 20)),
    "stride": ((15, 35), (0, 6), (-10, 5), (0, 20)),
    "trail": ((-28, -8), (0, 6), (-10, 5), (10, 50)),
    "lunge": ((45, 80), (0, 8), (-10, 5), (40, 90)),
    "push": ((-35, -10), (0, 8), (-10, 5), (40, 100)),
    "seat": ((72, 95), (3, 24), (-10, 15), (65, 100)),
    "folded": ((80, 100), (40, 60), (-60, -35), (115, 135)),
    "kneel": ((-5, 12), (3, 14), (-10, 5), (90, 118)),
    "squat": ((80, 110), (15, 35), (-20, 0), (100, 130)),
    "kick": ((55, 95), (0, 30), (-10, 10), (0, 30)),
}


class Posture(NamedTuple):
    """Posture of legs and spine: sampling weight, poses of the legs, and range of forward lean."""

    weight: float
    legs: tuple[str, str]
    lean: Range


POSTURES: dict[str, Posture] = {
    "stand": Posture(0.3, ("straight", "straight"), (-6, 8)),
    "astride": Posture(0.1, ("wide", "wide"), (-6, 12)),
    "walk": Posture(0.16, ("stride", "trail"), (-2, 10)),
    "run": Posture(0.08, ("lunge", "push"), (5, 25)),
    "sit": Posture(0.14, ("seat", "seat"), (-12, 20)),
    "floor": Posture(0.04, ("folded", "folded"), (0, 25)),
    "kneel": Posture(0.04, ("kneel", "seat"), (-5, 25)),
    "squat": Posture(0.04, ("squat", "squat"), (15, 40)),
    "bend": Posture(0.05, ("straight", "wide"), (35, 85)),
    "kick": Posture(0.05, ("straight", "kick"), (-20, 10)),
}
LYING_SHARE = 0.06


class Frame(NamedTuple):
    """Position and orientation. The columns of `axes` are the local x, y and z."""

    origin: Array
    axes: Array

    def at(self, offset: Point) -> Array:
        """Camera coordinates of a point in this frame."""
        point: Array = self.origin + self.axes @ np.array(offset)
        return point

    def depth(self, length: float) -> float:
        """Depth of the point at distance `length` along a limb. Larger is closer to the viewer."""
        return float(self.at((0.0, -length, 0.0))[2])

    def ellipsoid(self, offset: Point, radii: Point) -> Ellipsoid:
        """Ellipsoid at `offset` with `radii` along the axes of this frame."""
        return Ellipsoid(self.at(offset), self.axes * radii)

    def ball(self, y: float, radius: float, z: float = 0.0) -> Ellipsoid:
        """Ball at height `y`, and `z` to the front."""
        return self.ellipsoid((0.0, y, z), (radius, radius, radius))

    def child(self, offset: Point, turn: Array) -> "Frame":
        """Frame at `offset` in this one, rotated by `turn`."""
        return Frame(self.at(offset), self.axes @ turn)


@dataclass(frozen=True)
class Build:
    """Proportions of a body: bone lengths in body heights, and factors of girth and head."""

    upper_arm: float
    forearm: float
    thigh: float
    shank: float
    shoulder: float
    hip: float
    trunk: float
    girth: float
    head: float


@dataclass(frozen=True)
class Skeleton:
    """Frames of a posed body. Limbs are keyed by side."""

    build: Build
    posture: str
    pelvis: Frame
    chest: Frame
    head: Frame
    upper_arms: dict[Side, Frame]
    forearms: dict[Side, Frame]
    hands: dict[Side, Frame]
    thighs: dict[Side, Frame]
    shanks: dict[Side, Frame]
    feet: dict[Side, Frame]


def turn(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    """Rotation matrix `[3, 3]`, in degrees: first about x, then about y, then about z."""
    (cx, sx), (cy, sy), (cz, sz) = (
        (math.cos(math.radians(a)), math.sin(math.radians(a))) for a in (x, y, z)
    )
    return np.array(
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    )


def draw_build(rng: np.random.Generator) -> Build:
    """Sample proportions. About one body in eight is that of a child (large head, short legs)."""
    child = rng.random() < 0.12
    legs, arms, trunk = rng.normal(1.0, 0.04, 3).clip(0.9, 1.1)
    legs *= 0.85 if child else 1.0
    return Build(
        upper_arm=0.165 * arms,
        forearm=0.14 * arms,
        thigh=0.24 * legs,
        shank=0.23 * legs,
        shoulder=0.116 * rng.uniform(0.9, 1.12),
        hip=0.05 * rng.uniform(0.9, 1.1),
        trunk=trunk,
        girth=rng.uniform(0.88, 1.12) + 0.4 * max(0.0, rng.random() - 0.75),
        head=rng.uniform(0.95, 1.1) * (1.3 if child else 1.0),
    )


def draw_skeleton(rng: np.random.Generator) -> Skeleton:
    """Sample a build, a viewpoint and a pose, and compute the frames of all bones."""
    build = draw_build(rng)
    name = str(rng.choice(list(POSTURES), p=[p.weight for p in POSTURES.values()]))
    posture = POSTURES[name]
    view = _draw_view(rng, name)
    lean = rng.uniform(*posture.lean)
    pelvis = Frame(np.zeros(3), view @ turn(x=0.35 * lean, z=rng.normal(0, 3)))
    spine = turn(x=0.65 * lean, y=rng.normal(0, 10), z=rng.normal(0, 5))
    chest = pelvis.child((0.0, 0.1 * build.trunk, 0.0), spine)
    # The head compensates about half of the lean, so that faces look up rather than down.
    nod = turn(x=rng.normal(0, 8) - 0.5 * lean, y=rng.normal(0, 22), z=rng.normal(0, 7))
    head = chest.child((0.0, 0.225 * build.trunk, 0.0), nod)
    arms = {side: _draw_arm(rng, chest, build, side, pose) for side, pose in _arm_poses(rng, name)}
    flip = 1 if rng.random() < 0.5 else -1
    legs = {side: _draw_leg(rng, pelvis, build, side, posture.legs[side == flip]) for side in SIDES}
    return Skeleton(
        build, name, pelvis, chest, head,
        *({side: arms[side][i] for side in SIDES} for i in range(3)),
        *({side: legs[side][i] for side in SIDES} for i in range(3)),
    )  # fmt: skip


def _draw_view(rng: np.random.Generator, posture: str) -> Array:
    """Rotation from the figure to the camera: mostly towards the viewer, mostly upright."""
    yaw = rng.normal(0, 40) if rng.random() < 0.65 else rng.uniform(-180, 180)
    roll = rng.normal(0, 6)
    if posture in ("stand", "walk", "kick") and rng.random() < LYING_SHARE / 0.5:
        roll += rng.choice([-90.0, 90.0])
    return turn(x=rng.uniform(-6, 18), z=roll) @ turn(y=yaw)


def _arm_poses(rng: np.random.Generator, posture: str) -> list[tuple[Side, str]]:
    """A pose of each arm, often the same for both."""
    names = list(rng.choice(list(ARM_WEIGHTS), 2, p=list(ARM_WEIGHTS.values())))
    if rng.random() < 0.45 or "crossed" in names:
        names[1] = names[0]
    if posture in ("walk", "run") and rng.random() < 0.7:
        names = ["swing", "swing"]
    return list(zip(SIDES, map(str, names), strict=True))


def _draw_arm(
    rng: np.random.Generator, chest: Frame, build: Build, side: Side, pose: str
) -> tuple[Frame, Frame, Frame]:
    flex, abduct, twist, elbow = (rng.uniform(*limits) for limits in ARM_POSES[pose])
    shoulder = turn(x=-flex) @ turn(z=side * abduct) @ turn(y=-side * twist)
    # The shoulder rises with the arm.
    rise = 0.025 * max(0.0, max(flex, abduct) - 60) / 120
    upper = chest.child((side * build.shoulder, 0.182 * build.trunk + rise, 0.0), shoulder)
    lower = upper.child((0.0, -build.upper_arm, 0.0), turn(x=-elbow))
    wrist = turn(x=rng.normal(-8, 14), y=side * rng.uniform(-60, 60), z=rng.normal(0, 12))
    return upper, lower, lower.child((0.0, -build.forearm, 0.0), wrist)


def _draw_leg(
    rng: np.random.Generator, pelvis: Frame, build: Build, side: Side, pose: str
) -> tuple[Frame, Frame, Frame]:
    flex, abduct, twist, knee = (rng.uniform(*limits) for limits in LEG_POSES[pose])
    hip = turn(x=-flex) @ turn(z=side * abduct) @ turn(y=-side * twist)
    thigh = pelvis.child((side * build.hip, -0.02, 0.0), hip)
    shank = thigh.child((0.0, -build.thigh, 0.0), turn(x=knee))
    point = rng.uniform(20, 60) if pose in ("push", "kneel", "kick") else rng.uniform(-8, 15)
    ankle = turn(x=point, y=side * rng.uniform(-5, 25))
    return thigh, shank, shank.child((0.0, -build.shank, 0.0), ankle)
