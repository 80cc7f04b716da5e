"""Names of left and right classes that the tree does not pair."""

import pytest

from hieraseg import Hierarchy
from hieraseg.hierarchy.sides import sides_notice, unpaired_sides


def tree(*names: str, pairs: tuple[tuple[str, str], ...] = ()) -> Hierarchy:
    return Hierarchy.from_tree(dict.fromkeys(names), pairs=pairs)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_arm", "right_arm"),
        ("LeftEye", "RightEye"),
        ("LEFT EYE", "RIGHT EYE"),
        ("arm left", "arm right"),
        ("arm (left)", "arm (right)"),
        ("leftarm", "rightarm"),
        ("upper_left_arm", "upper_right_arm"),
        ("l_hand", "r_hand"),
        ("hand.L", "hand.R"),
        ("hand_l2", "hand_r2"),
        ("lHand", "rHand"),
        ("LHand", "RHand"),
        ("handL", "handR"),
        ("l", "r"),
    ],
)
def test_names_that_look_like_a_pair(left: str, right: str) -> None:
    assert unpaired_sides(tree("hair", right, left)) == [(left, right)]
    assert unpaired_sides(tree(left, right, pairs=((right, left),))) == []


@pytest.mark.parametrize(
    "names",
    [("lake", "rake"), ("glass", "grass"), ("low", "row"), ("LAB", "RAB"), ("left_arm", "arm")],
)
def test_names_that_do_not(names: tuple[str, str]) -> None:
    assert unpaired_sides(tree(*names)) == []


def test_inner_classes_and_trees_with_some_pairs() -> None:
    arms = {"left_arm": ["left_hand"], "right_arm": ["right_hand"], "left_ear": None}
    hierarchy = Hierarchy.from_tree({**arms, "right_ear": None}, pairs=[("left_ear", "right_ear")])
    assert unpaired_sides(hierarchy) == [("left_arm", "right_arm"), ("left_hand", "right_hand")]


def test_the_notice_has_the_line_to_add() -> None:
    notice = sides_notice(tree("left_arm", "right_arm", "eye: left", "eye: right", "hair"))
    assert notice is not None
    assert 'pairs: [[left_arm, right_arm], ["eye: left", "eye: right"]]' in notice
    assert sides_notice(tree("hair", "skin")) is None
