"""Names that a data set gives its labels, compared with those of a class tree."""

import pytest

from hieraseg import Hierarchy
from hieraseg.hierarchy.naming import label_conflict, no_common_name

NAMES = {0: "background", 1: "arm", 2: "head", 3: "leg"}
BODY = {"background": None, "body": ["head", "arm", "leg"]}
RENAMED = {
    "the same": (BODY, NAMES),
    "case and separators": (
        {"Background": None, "body": ["left arm", "Head", "LEG"]},
        {0: "Background", 1: "left arm", 2: "Head", 3: "LEG"},
    ),
    "other names": (["sky", "limb", "skull"], {0: "sky", 1: "limb", 2: "skull", 3: "limb"}),
    "merged": (
        {"background": None, "body": ["head", "limb"]},
        {0: "background", 1: "limb", 2: "head", 3: "limb"},
    ),
    "merged into one of them": (["head", "arm"], {0: "head", 1: "arm", 2: "head", 3: "arm"}),
    "the class above": (BODY, {**NAMES, 1: "body", 2: "body"}),
    "a class below": ({"arm": ["hand", "elbow"], "head": None}, {1: "hand", 2: "head"}),
    "unknown": (["torso"], {7: "torso"}),
}


@pytest.mark.parametrize("case", RENAMED)
def test_labels_that_are_renamed_or_merged(case: str) -> None:
    tree, labels = RENAMED[case]
    assert label_conflict(NAMES, Hierarchy.from_tree(tree, labels=labels)) is None


CONFLICTS = {
    "the order of the tree": (None, "label 1 is 'arm' in the data set, but 'head' in the tree"),
    "two are swapped": ({**NAMES, 1: "leg", 3: "arm"}, "label 1 is 'arm' in the data set, but"),
    "one more": ({0: "background", 2: "head", 3: "arm", 4: "leg"}, "label 1 is 'arm' in the data"),
    "one is missing": ({0: "background", 2: "head", 5: "arm", 3: "leg"}, "but missing in the tree"),
    "another branch": ({**NAMES, 0: "body"}, "label 0 is 'background' in the data set, but 'body'"),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_labels_of_another_class(case: str) -> None:
    labels, sentence = CONFLICTS[case]
    found = label_conflict(NAMES, Hierarchy.from_tree(BODY, labels=labels))
    assert found is not None
    assert sentence in found


def test_the_number_of_labels_that_differ() -> None:
    found = label_conflict(NAMES, Hierarchy.from_tree(BODY))
    assert str(found).endswith(" (1 other label differs, too)")
    reversed_ = Hierarchy.from_tree(["leg", "head", "arm", "background"])
    assert "label 0 is 'background' in the data set, but 'leg' in the tree (2 other" in str(
        label_conflict({0: "background", 1: "arm", 3: "leg"}, reversed_)
    )


def test_void_is_no_class() -> None:
    labels = {0: "background", 2: "head", 4: "arm", 3: "leg"}
    tree = Hierarchy.from_tree(BODY, labels=labels, void=[1])
    assert label_conflict(NAMES, tree) is None
    assert no_common_name({1: "arm"}, tree) is None


def test_no_name_is_the_same() -> None:
    tree = Hierarchy.from_tree(["background", "hat", "hair", "glove"], background="background")
    expected = "1 is 'arm' in the data set and 'hat' in the tree, 2 is 'head' and 'hair', 3 is"
    assert str(no_common_name(NAMES, tree)).startswith(expected)
    assert str(no_common_name({**NAMES, 9: "x"}, tree)).endswith("3 is 'leg' and 'glove'")
    longer = Hierarchy.from_tree([f"class {index}" for index in range(5)])
    assert str(no_common_name({**NAMES, 4: "foot"}, longer)).endswith(", ...")


@pytest.mark.parametrize(
    "labels", [{1: "limb", 2: "head", 3: "limb"}, {1: "limb", 2: "face", 3: "limb"}]
)
def test_one_name_of_the_path_is_enough(labels: dict[int, str]) -> None:
    tree = Hierarchy.from_tree({"limb": None, "head": ["face", "hair"]}, labels=labels)
    assert no_common_name(NAMES, tree) is None
    assert no_common_name({0: "background"}, tree) is None
    assert no_common_name({}, tree) is None
