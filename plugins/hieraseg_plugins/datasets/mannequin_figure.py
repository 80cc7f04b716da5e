"""Clothed figures: solids attached to a posed skeleton, projected to shapes with part labels.

A solid is the convex hull of ellipsoids. Solids that are always drawn in the same order (an arm,
then its sleeve) form a group. Groups are drawn from far to near. Clothes have the label of the body
part that they cover.
"""

import numpy as np

from hieraseg_plugins.datasets.mannequin_art import (
    BACKGROUND,
    PERSPECTIVE,
    Array,
    Ellipsoid,
    Group,
    Paint,
    Shape,
    Solid,
    project,
)
from hieraseg_plugins.datasets.mannequin_outfit import Outfit, draw_outfit, draw_paint
from hieraseg_plugins.datasets.mannequin_pose import (
    SIDES,
    Frame,
    Point,
    Side,
    Skeleton,
    draw_skeleton,
)

LOW_HAND, TORSO, LOW_LEG, HEAD, UP_LEG, UP_HAND = 1, 2, 3, 4, 5, 6
# Features of the face: the side from which they are visible, tint, position and radii.
FEATURES: tuple[tuple[float, str, tuple[Point, Point]], ...] = (
    *((s * 0.5, "white", ((s * 0.02, 0.096, 0.058), (0.011, 0.007, 0.006))) for s in SIDES),
    *((s * 0.5, "dark", ((s * 0.02, 0.096, 0.062), (0.0055, 0.0065, 0.004))) for s in SIDES),
    *((s * 0.5, "hair", ((s * 0.021, 0.112, 0.06), (0.014, 0.004, 0.005))) for s in SIDES),
    (0.0, "lips", ((0.0, 0.046, 0.054), (0.017, 0.006, 0.006))),
    (0.0, "shade", ((0.0, 0.076, 0.068), (0.008, 0.014, 0.01))),
)


def draw_figure(rng: np.random.Generator) -> tuple[list[Shape], Array]:
    """Draw a person about one unit tall, with the pelvis at the origin of the plane and y down.

    Returns:
        The shapes from far to near, and the center of the head `[2]`.
    """
    body, outfit = draw_skeleton(rng), draw_outfit(rng)
    groups = [_torso(rng, body, outfit), *_head(rng, body, outfit), *_objects(rng, body)]
    for side in SIDES:
        groups += [*_arm(body, outfit, side), *_leg(body, outfit, side)]
    if outfit.skirt:
        groups.append(_skirt(body, outfit))
    solids = [solid for group in sorted(groups, key=lambda g: g.depth) for solid in group.solids]
    middle = body.head.at((0.0, 0.1 * body.build.head, 0.0))
    return project(solids), middle[:2] * (1, -1) * (1 + PERSPECTIVE * middle[2])


def _torso(rng: np.random.Generator, body: Skeleton, outfit: Outfit) -> Group:
    """Pelvis, belly, chest and neck, and from the front also a neckline, a print or a tie."""
    girth, trunk, width = body.build.girth, body.build.trunk, body.build.shoulder
    pelvis, chest, shirt = body.pelvis, body.chest, outfit.shirt
    belly = 0.078 * girth * girth
    hips = pelvis.ellipsoid((0.0, -0.01, 0.0), (0.092 * girth, 0.05, 0.066 * girth))
    waist = chest.ellipsoid((0.0, 0.015, 0.0), (belly, 0.045, 0.85 * belly))
    ribs = chest.ellipsoid((0.0, 0.115 * trunk, 0.005), (0.88 * width * girth, 0.06, 0.066 * girth))
    shoulders = chest.ellipsoid((0.0, 0.175 * trunk, -0.005), (0.98 * width, 0.036, 0.05))
    neckline = chest.ellipsoid((0.0, 0.19 * trunk, 0.025), (0.036, rng.uniform(0.005, 0.035), 0.03))
    badge = rng.uniform(0.008, 0.05), rng.uniform(0.02, 0.075), 0.005
    neck = (chest.ball(0.19 * trunk, 0.036), body.head.ball(0.03, 0.031))
    solids = [
        Solid(TORSO, outfit.trousers if outfit.tucked else shirt, (hips, waist)),
        Solid(TORSO, shirt, (waist, ribs)),
        Solid(TORSO, shirt, (ribs, shoulders)),
        Solid(TORSO, shirt, (shoulders, chest.ball(0.205 * trunk, 0.038))),
    ]
    if rng.random() < 0.25:
        belt = pelvis.ellipsoid((0.0, 0.045, 0.0), (0.09 * girth, 0.012, 0.07 * girth))
        solids.append(Solid(TORSO, outfit.shoe, (belt,)))
    if chest.axes[2, 2] > 0:
        if rng.random() < 0.3:
            spot = chest.ellipsoid((0.0, 0.09 * trunk, 0.066 * girth), badge)
            solids.append(Solid(TORSO, outfit.hat, (spot,)))
        solids.append(Solid(TORSO, outfit.skin, (neckline,)))
    return Group(float(chest.at((0.0, 0.06, 0.0))[2]), [*solids, Solid(TORSO, outfit.skin, neck)])


def _limb(
    label: int,
    bone: tuple[Frame, float, float, float],
    outfit: Outfit,
    cloth: Paint,
    cover: float,
) -> list[Solid]:
    """A limb, of which a share is covered by cloth.

    Args:
        label: label of the limb.
        bone: frame, length, and radii at its start and end.
        outfit: clothes of the figure.
        cloth: paint of the cloth.
        cover: share of the length that cloth covers.
    """
    frame, length, top, end = bone
    solids = []
    if cover < 0.95:
        solids.append(Solid(label, outfit.skin, (frame.ball(0.0, top), frame.ball(-length, end))))
    if cover > 0:
        cover = min(cover, 1.0)
        hem = (top + cover * (end - top)) * outfit.loose
        start = frame.ball(0.0, 0.5 * top * (1 + outfit.loose))
        solids.append(Solid(label, cloth, (start, frame.ball(-cover * length, hem))))
    return solids


def _arm(body: Skeleton, outfit: Outfit, side: Side) -> list[Group]:
    build, girth = body.build, 0.5 + 0.5 * body.build.girth
    upper, lower, hand = body.upper_arms[side], body.forearms[side], body.hands[side]
    wrist = hand.ellipsoid((0.0, -0.012, 0.0), (0.019, 0.016, 0.012))
    palm = hand.ellipsoid((0.0, -0.05, 0.004), (0.022, 0.016, 0.01))
    fingers = hand.ellipsoid((0.0, -0.085, 0.016), (0.016, 0.014, 0.009))
    thumb = hand.ellipsoid((-side * 0.034, -0.055, 0.01), (0.008, 0.01, 0.008))
    upper_bone = upper, build.upper_arm, 0.036 * girth, 0.029 * girth
    lower_bone = lower, build.forearm, 0.029 * girth, 0.02
    chains = (wrist, palm), (palm, fingers), (wrist, thumb)
    hand_solids = [Solid(LOW_HAND, outfit.glove, chain) for chain in chains]
    forearm = _limb(LOW_HAND, lower_bone, outfit, outfit.shirt, outfit.sleeve - 1)
    upper_arm = _limb(UP_HAND, upper_bone, outfit, outfit.shirt, outfit.sleeve)
    return [
        Group(upper.depth(0.5 * build.upper_arm) + 0.02, upper_arm),
        Group(lower.depth(0.7 * build.forearm) + 0.03, hand_solids + forearm),
    ]


def _leg(body: Skeleton, outfit: Outfit, side: Side) -> list[Group]:
    build, girth = body.build, body.build.girth
    thigh, shank, foot = body.thighs[side], body.shanks[side], body.feet[side]
    cover = 0.0 if outfit.skirt else outfit.leg
    ankle = shank.ball(-build.shank, 0.027)
    lower: list[Solid] = []
    if cover < 1.9:
        calf = shank.ball(-0.28 * build.shank, 0.041 * girth, -0.01)
        lower.append(Solid(LOW_LEG, outfit.skin, (calf, ankle)))
    shank_bone = shank, build.shank, 0.04 * girth, 0.027
    lower += _limb(LOW_LEG, shank_bone, outfit, outfit.trousers, cover - 1)
    if outfit.sock_height and cover < 1.5:
        height = 0.7 * outfit.sock_height
        sock = shank.ball(-build.shank * (1 - height), 0.029 + 0.014 * height)
        lower.append(Solid(LOW_LEG, outfit.sock, (ankle, sock)))
    toes = foot.ellipsoid((0.0, -0.026, 0.075), (0.03, 0.015, 0.035))
    lower.append(Solid(LOW_LEG, outfit.shoe, (foot.ball(-0.012, 0.028, -0.012), toes)))
    thigh_bone = thigh, build.thigh, 0.06 * girth, 0.042 * girth
    return [
        Group(
            thigh.depth(0.5 * build.thigh) - 0.02,
            _limb(UP_LEG, thigh_bone, outfit, outfit.trousers, cover),
        ),
        Group(shank.depth(0.5 * build.shank) - 0.015, lower),
    ]


def _skirt(body: Skeleton, outfit: Outfit) -> Group:
    girth, thighs, length = body.build.girth, body.thighs, body.build.thigh
    hips = body.pelvis.ellipsoid((0.0, -0.04, 0.0), (0.088 * girth, 0.03, 0.066 * girth))
    left, right = (
        thighs[side].ball(-outfit.skirt * length, 0.055 * girth * outfit.loose) for side in SIDES
    )
    depth = max(thigh.depth(0.5 * length) for thigh in thighs.values())
    return Group(depth, [Solid(UP_LEG, outfit.trousers, (hips, left, right))])


def _head(rng: np.random.Generator, body: Skeleton, outfit: Outfit) -> list[Group]:
    """Face, hair and possibly a hat. Long hair at the back is a separate group."""
    frame = body.head._replace(axes=body.head.axes * body.build.head)
    facing, depth = float(body.head.axes[2, 2]), frame.depth(-0.09) + 0.03

    def solid(paint: Paint, *parts: tuple[Point, Point]) -> Solid:
        return Solid(HEAD, paint, tuple(frame.ellipsoid(*part) for part in parts))

    style = str(rng.choice(["bald", "short", "short", "bob", "long", "bun", "tail", "afro"]))
    grow = {"bald": 0.99, "short": 1.05, "afro": 1.35}.get(style, 1.1)
    hair = outfit.skin if style == "bald" else outfit.hair
    cap = [solid(hair, ((0.0, 0.1, -0.008), (0.055 * grow, 0.066 * grow, 0.064 * grow)))]
    if style == "bun":
        cap.insert(0, solid(hair, ((0.0, 0.17, -0.04), (0.03, 0.03, 0.03))))
    chin: tuple[Point, Point] = (0.0, 0.04, 0.028), (0.024, 0.018, 0.024)
    face = [solid(outfit.skin, ((0.0, 0.088, 0.012), (0.048, 0.056, 0.054)), chin)]
    face += [solid(outfit.skin, ((s * 0.053, 0.085, 0.0), (0.008, 0.016, 0.011))) for s in SIDES]
    features = [
        solid(_tinted(outfit, tint), part)
        for side, tint, part in FEATURES
        if side * frame.axes[2, 0] + frame.axes[2, 2] > 0.2
    ]
    groups = []
    if style in ("long", "bob", "tail"):
        wide, low = {"long": (0.055, -0.12), "bob": (0.06, 0.0), "tail": (0.02, -0.09)}[style]
        back = (0.0, 0.1, -0.05), (wide, 0.04, 0.03)
        fall = solid(hair, back, ((0.0, low, -0.055), (0.9 * wide, 0.03, 0.02)))
        groups.append(Group(depth + (0.06 if facing < 0 else -0.08), [fall]))
    solids = [*cap, *face, *features] if facing > -0.3 else [*face, *cap]
    if rng.random() < 0.25:
        solids += _hat(rng, frame, outfit.hat)
    return [*groups, Group(depth, solids)]


def _tinted(outfit: Outfit, tint: str) -> Paint:
    """Paint of a feature of the face."""
    if tint == "hair":
        return outfit.hair
    red, green, blue = outfit.skin.color
    colors = {
        "white": (0.85, 0.84, 0.82),
        "dark": (0.1, 0.07, 0.06),
        "lips": (0.75 * red, 0.45 * green, 0.45 * blue),
        "shade": (0.85 * red, 0.8 * green, 0.8 * blue),
    }
    return outfit.skin._replace(color=colors[tint])


def _hat(rng: np.random.Generator, frame: Frame, paint: Paint) -> list[Solid]:
    """A cap, a hat with a brim, or a helmet on the upper half of the head."""
    crown, brim = rng.uniform(0.03, 0.09), float(rng.choice([0.0, 0.035, 0.05]))
    low = frame.ellipsoid((0.0, 0.118, -0.006), (0.062, 0.016, 0.07))
    top = frame.ellipsoid((0.0, 0.13 + crown, -0.01), (0.05, 0.02, 0.054))
    hat = [Solid(HEAD, paint, (low, top))]
    if brim:
        around = float(rng.choice([0.0, brim]))
        edge = (0.055 + around, 0.006, 0.055 + 0.5 * (brim + around))
        hat.append(
            Solid(HEAD, paint, (frame.ellipsoid((0.0, 0.112, 0.5 * (brim - around) + 0.01), edge),))
        )
    return hat


def _objects(rng: np.random.Generator, body: Skeleton) -> list[Group]:
    """Objects in front of or behind the body: a seat, a backpack, something in a hand."""
    objects: list[tuple[float, tuple[Ellipsoid, ...]]] = []
    if body.posture == "sit":
        width = rng.uniform(0.1, 0.22)
        seat = body.pelvis.ellipsoid((0.0, -0.09, 0.03), (width, 0.02, 0.13))
        base = body.pelvis.ellipsoid(
            (0.0, -rng.uniform(0.11, 0.32), 0.03), (0.9 * width, 0.02, 0.12)
        )
        objects.append((-0.06, (seat, base)))
    if rng.random() < 0.12:
        bag = (body.chest.ellipsoid((0.0, y, -0.1), (0.08, 0.05, 0.045)) for y in (0.0, 0.14))
        objects.append((-0.1 * float(body.chest.axes[2, 2]), tuple(bag)))
    if rng.random() < 0.3:
        hand = body.hands[1 if rng.random() < 0.5 else -1]
        wide, high, low = rng.uniform((0.01, 0.01, -0.3), (0.07, 0.12, 0.05)).tolist()
        held = hand.ellipsoid((0.0, -0.06, 0.03), (wide, high, wide))
        far = hand.ellipsoid((0.0, -0.06 + low, 0.03), (wide, 0.02, wide))
        objects.append((hand.depth(0.06) + 0.02, (held, far)))
    return [
        Group(depth, [Solid(BACKGROUND, draw_paint(rng, (0.02, 0.1), roundness=0.7), parts)])
        for depth, parts in objects
    ]
