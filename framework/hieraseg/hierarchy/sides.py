"""Classes whose names say that they are the left and the right one of a pair."""

import json
import re

from hieraseg.hierarchy.tree import Hierarchy

_WORDS = re.compile(
    r"left|Left|LEFT"  # anywhere in a name, as in leftarm
    r"|(?<![A-Za-z])[lL](?![A-Za-z])"  # a word, as in l_hand and hand.L
    r"|(?<![A-Za-z])(?:l(?=[A-Z])|L(?=[A-Z][a-z]))|(?<=[a-z])L(?![A-Za-z])"  # lHand, LHand, handL
)
_RIGHT = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}


def unpaired_sides(hierarchy: Hierarchy) -> list[tuple[str, str]]:
    """Pairs of names such as left_arm and right_arm that `hierarchy.pairs` does not have.

    >>> tree = {"left_arm": None, "right_arm": None, "LeftEye": None, "RightEye": None}
    >>> unpaired_sides(Hierarchy.from_tree(tree, pairs=[("LeftEye", "RightEye")]))
    [('left_arm', 'right_arm')]
    """
    names = dict.fromkeys(name for level in hierarchy.level_names for name in level)
    for name in (name for pair in hierarchy.pairs for name in pair):
        del names[name]
    sides = (
        (name, name[: word.start()] + _RIGHT[word[0]] + name[word.end() :])
        for name in names
        for word in _WORDS.finditer(name)
    )
    return list(dict.fromkeys((left, right) for left, right in sides if right in names))


def sides_notice(hierarchy: Hierarchy) -> str | None:
    """What to say where images are flipped, but some names of left and right are not paired."""
    pairs = unpaired_sides(hierarchy)
    if not pairs:
        return None
    every = [f"[{_quoted(left)}, {_quoted(right)}]" for left, right in (*hierarchy.pairs, *pairs)]
    return (
        f"hierarchy: images are flipped, but the tree does not say that {' and '.join(pairs[0])} "
        f"are left and right; add the line `pairs: [{', '.join(every)}]` to the tree, or do not "
        "flip (augmentation.flip, evaluation.flip)"
    )


def _quoted(name: str) -> str:
    """A name as YAML reads it within a list."""
    return name if re.fullmatch(r"[\w .-]+", name) else json.dumps(name, ensure_ascii=False)
