"""What a class tree is known by: any change is seen, and the order of classes is none."""

import json
from typing import Any

import pytest

from hieraseg import Hierarchy
from hieraseg.hierarchy.identity import describe, differing_parts, record

TREE: dict[str, Any] = {"bg": None, "body": {"arms": ["left", "right"], "legs": ["thigh", "shin"]}}
OPTIONS: dict[str, Any] = {
    "labels": {0: "bg", 1: "left", 2: "right", 3: "body", 4: "thigh", 5: "shin"},
    "void": [255],
    "background": "bg",
    "pairs": [("left", "right")],
}


def tree(**changes: Any) -> Hierarchy:
    options = {"tree": TREE, **OPTIONS, **changes}
    return Hierarchy.from_tree(options.pop("tree"), **options)


MOVED = {"bg": None, "body": {"arms": ["left", "right", "shin"], "legs": ["thigh"]}}
CHANGES: list[tuple[dict[str, Any], str, str]] = [
    ({"void": [254]}, "void", "void"),
    ({"void": []}, "void", "void"),
    ({"background": None}, "background", "background"),
    ({"pairs": []}, "pairs", "pairs"),
    ({"labels": {**OPTIONS["labels"], 3: "legs"}}, "labels", "labels"),
    ({"labels": {**OPTIONS["labels"], 6: "body"}}, "labels", "labels"),
    ({"tree": MOVED}, "parents", "parents"),
]


@pytest.mark.parametrize(("change", "part", "recorded"), CHANGES)
def test_any_change_is_seen(change: dict[str, Any], part: str, recorded: str) -> None:
    before, after = tree(), tree(**change)
    assert before.level_names == after.level_names, "names alone do not tell"
    kept = json.loads(json.dumps(describe(before)))  # as a checkpoint keeps it
    assert differing_parts(before, kept) == []
    assert differing_parts(after, kept) == [part]
    assert {key for key, value in record(before).items() if record(after)[key] != value} == {
        recorded
    }


def test_older_descriptions_know_less() -> None:
    assert differing_parts(tree(void=[]), {"classes": tree().level_names}) == []


def test_the_order_of_classes_changes_no_record() -> None:
    """But it does change the weights, whose channels are in this order."""
    other = tree(tree={"body": TREE["body"], "bg": None})
    assert other.level_names != tree().level_names
    assert record(other) == record(tree())
    assert "classes" in differing_parts(other, describe(tree()))
