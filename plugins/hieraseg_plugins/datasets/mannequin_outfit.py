"""Colors, paints and clothes, sampled independently of pose and part.

Clothes and walls may also have skin tones, so that color does not reveal the part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hieraseg_plugins.datasets.mannequin_art import BLOTCHES, PLAIN, Color, Paint

CLOTH_PATTERNS = (*[PLAIN] * 7, BLOTCHES, 2, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Outfit:
    """Paints of a figure, and the cut of its clothes.

    `sleeve` and `leg` are lengths of cloth on a limb: 1 to the elbow or knee, 2 to the wrist or
    ankle. `skirt` is the share of the thigh that it covers, 0 for no skirt. `loose` scales sleeves.
    """

    skin: Paint
    glove: Paint
    shirt: Paint
    trousers: Paint
    shoe: Paint
    sock: Paint
    hair: Paint
    hat: Paint
    sleeve: float
    leg: float
    skirt: float
    sock_height: float
    loose: float
    tucked: bool


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Sample skin, hair and clothes."""
    skin = Paint(draw_skin(rng), (0.0, 0.0, 0.0), roundness=rng.uniform(0.5, 1.0), grain=0.05)
    cloth = [draw_paint(rng, (0.02, 0.09), CLOTH_PATTERNS, 0.8) for _ in range(6)]
    shirt, trousers, shoe, sock, hat, glove = cloth
    kind = rng.random()
    if kind < 0.2:  # a suit or dress in one piece
        trousers = shirt
    elif kind < 0.26:  # bathing trunks
        shirt = skin
    bare = shirt is skin
    return Outfit(
        skin=skin,
        glove=glove if rng.random() < 0.12 else skin,
        shirt=shirt,
        trousers=trousers,
        shoe=shoe if rng.random() < 0.88 else skin,
        sock=sock,
        hair=_draw_hair(rng),
        hat=hat,
        sleeve=0.0 if bare else float(rng.choice([0, rng.uniform(0.3, 1.1), 1.5, 1.95])),
        leg=float(rng.choice([rng.uniform(0.2, 0.9), 1.4, 1.95, 1.95])),
        skirt=0.0 if bare or rng.random() < 0.78 else rng.uniform(0.45, 0.95),
        sock_height=float(rng.choice([0.0, rng.uniform(0.1, 0.8)])),
        loose=rng.uniform(1.04, 1.35),
        tucked=bool(rng.random() < 0.5),
    )


def _draw_hair(rng: np.random.Generator) -> Paint:
    """Paint of hair between black and blond, sometimes gray or dyed."""
    hair = draw_paint(rng, (0.01, 0.02), (PLAIN, PLAIN, 3), 0.8)
    if rng.random() < 0.15:
        return hair
    shade = rng.uniform(0.2, 0.8) ** 2
    tint = 1.0 if rng.random() < 0.2 else 0.75
    return hair._replace(
        color=(shade, tint * shade, tint * tint * shade),
        second=(0.7 * shade, 0.6 * shade, 0.5 * shade),
        grain=0.25,
    )


def draw_color(rng: np.random.Generator) -> Color:
    """A color of cloth, walls or objects. One in five is a skin tone."""
    kind = rng.random()
    if kind < 0.2:
        return draw_skin(rng)
    value = rng.uniform(0.08, 0.95)
    tint = rng.normal(0.0, 0.04 if kind < 0.55 else 0.17, 3)
    red, green, blue = (value + tint - tint.mean()).clip(0.03, 0.97)
    return float(red), float(green), float(blue)


def draw_skin(rng: np.random.Generator) -> Color:
    """A human skin tone, from very dark to very light."""
    tone = rng.random()
    dark, light = np.array([0.22, 0.13, 0.09]), np.array([0.96, 0.79, 0.69])
    red, green, blue = (dark + tone * (light - dark) + rng.normal(0, 0.025, 3)).clip(0, 1)
    return float(red), float(green), float(blue)


def draw_paint(
    rng: np.random.Generator,
    period: tuple[float, float],
    patterns: Sequence[int] = CLOTH_PATTERNS,
    roundness: float = 0.0,
) -> Paint:
    """A random paint.

    Args:
        rng: source of randomness.
        period: smallest and largest size of a pattern cell.
        patterns: patterns to choose from.
        roundness: mean roundness.
    """
    return Paint(
        draw_color(rng),
        draw_color(rng),
        patterns[int(rng.integers(len(patterns)))],
        rng.uniform(*period),
        rng.uniform(0.25, 0.75),
        roundness * rng.uniform(0.6, 1.2),
        rng.uniform(0.02, 0.2) * (1 if rng.random() < 0.5 else -1),
    )
