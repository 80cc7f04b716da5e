"""The class tree and its tensors, against values worked by hand and against the nested dict."""

import doctest
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hieraseg import Hierarchy, registry
from trees import Node, Tree, ancestors_of, leaf_paths, nested_trees, nodes_of


@pytest.fixture(scope="module")
def pascal() -> Hierarchy:
    return registry.hierarchies.get("pascal_part")()


# Pascal-Part, by hand: 0 background, 1 low_hand, 2 torso, 3 low_leg, 4 head, 5 up_leg, 6 up_hand.


def test_pascal_part_names_and_counts(pascal: Hierarchy) -> None:
    assert pascal.level_names == [
        ["background", "body"],
        ["background", "upper_body", "lower_body"],
        ["background", "low_hand", "torso", "low_leg", "head", "up_leg", "up_hand"],
    ]
    assert pascal.num_classes == [2, 3, 7]
    assert pascal.num_levels == 3
    assert pascal.background == "background"
    assert [pascal.background_index(level) for level in range(3)] == [0, 0, 0]


def test_pascal_part_upper_body_is_1_2_4_6(pascal: Hierarchy) -> None:
    assert [parents.tolist() for parents in pascal.parents] == [
        [-1, -1],
        [0, 1, 1],
        [0, 1, 1, 2, 1, 2, 1],
    ]
    assert pascal.paths.tolist() == [
        [0, 0, 0],
        [1, 1, 1],
        [1, 1, 2],
        [1, 2, 3],
        [1, 1, 4],
        [1, 2, 5],
        [1, 1, 6],
    ]
    assert pascal.paths.dtype == torch.int64
    assert all(parents.dtype == torch.int64 for parents in pascal.parents)


def test_pascal_part_ancestors_hold_the_node_itself(pascal: Hierarchy) -> None:
    # Nodes: 0 background, 1 body | 2 background, 3 upper, 4 lower | 5 background, 6 low_hand,
    # 7 torso, 8 low_leg, 9 head, 10 up_leg, 11 up_hand.
    expected = {
        0: [0],
        1: [1],
        2: [0, 2],
        3: [1, 3],
        4: [1, 4],
        5: [0, 2, 5],
        6: [1, 3, 6],
        7: [1, 3, 7],
        8: [1, 4, 8],
        9: [1, 3, 9],
        10: [1, 4, 10],
        11: [1, 3, 11],
    }
    assert pascal.ancestors.dtype == torch.bool
    found = {node: row.nonzero()[:, 0].tolist() for node, row in enumerate(pascal.ancestors)}
    assert found == expected


@pytest.mark.parametrize(
    ("one", "other", "edges"),
    [
        (9, 9, 0),  # head, head
        (9, 7, 2),  # head, torso: up to upper body and down
        (9, 8, 4),  # head, low_leg: by way of body
        (9, 5, 6),  # head, background: by way of the virtual node above the roots
        (9, 1, 2),  # head, body
        (3, 10, 3),  # upper body, up_leg
        (0, 5, 2),  # background's chain
        (0, 1, 2),
    ],
)
def test_pascal_part_distances(pascal: Hierarchy, one: int, other: int, edges: int) -> None:
    assert pascal.distances[one, other] == pascal.distances[other, one] == edges


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_pascal_part_encode(pascal: Hierarchy, dtype: torch.dtype) -> None:
    mask = torch.tensor([[[0, 1, 2], [3, 4, 5]], [[6, 7, 100], [0, 0, 1]]], dtype=dtype)
    encoded = pascal.encode(mask)
    assert encoded.dtype == torch.int64
    assert encoded[0].tolist() == [
        [[0, 1, 1], [1, 1, 1]],
        [[0, 1, 1], [2, 1, 2]],
        [[0, 1, 2], [3, 4, 5]],
    ]
    assert encoded[1].tolist() == [
        [[1, -100, -100], [0, 0, 1]],
        [[1, -100, -100], [0, 0, 1]],
        [[6, -100, -100], [0, 0, 1]],
    ]


def test_a_mask_without_batch_and_a_strided_one(pascal: Hierarchy) -> None:
    mask = torch.randint(0, 9, (6, 10), dtype=torch.uint8)
    before = mask.clone()
    assert torch.equal(pascal.encode(mask), pascal.encode(mask[None])[0])
    assert torch.equal(pascal.encode(mask.T), pascal.encode(mask).mT)
    assert torch.equal(mask, before)


def test_values_outside_the_table_are_void(pascal: Hierarchy) -> None:
    mask = torch.tensor([[-1, -2, -100, 7, 8, 255, 2**40, -(2**40)]])
    assert pascal.encode(mask).eq(-100).all()
    assert pascal.encode(torch.full((2, 2), 255, dtype=torch.uint8)).eq(-100).all()


# Trees of other shapes.


def test_uneven_depth_carries_chains_down() -> None:
    hierarchy = Hierarchy.from_tree({"sky": None, "thing": {"car": [], "animal": ["cat", "dog"]}})
    assert hierarchy.level_names == [
        ["sky", "thing"],
        ["sky", "car", "animal"],
        ["sky", "car", "cat", "dog"],
    ]
    assert [parents.tolist() for parents in hierarchy.parents[1:]] == [[0, 1, 1], [0, 1, 2, 2]]
    assert hierarchy.background is None
    assert hierarchy.background_index(2) is None


def test_one_level() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b", "c"])
    assert hierarchy.num_classes == [3]
    assert hierarchy.paths.tolist() == [[0], [1], [2]]
    assert hierarchy.parents[0].tolist() == [-1, -1, -1]
    assert torch.equal(hierarchy.ancestors, torch.eye(3, dtype=torch.bool))
    assert hierarchy.distances.tolist() == [[0, 2, 2], [2, 0, 2], [2, 2, 0]]
    assert hierarchy.encode(torch.tensor([[2, 0, 3]])).tolist() == [[[2, 0, -100]]]


def test_mappings_within_lists() -> None:
    as_list = Hierarchy.from_tree({"body": ["head", {"legs": ["left", "right"]}]})
    as_mapping = Hierarchy.from_tree({"body": {"head": None, "legs": {"left": {}, "right": ()}}})
    assert as_list.level_names == as_mapping.level_names
    assert as_list.level_names[2] == ["head", "left", "right"]


def test_labels_order_the_leaves_and_the_tree_the_inner_levels() -> None:
    hierarchy = Hierarchy.from_tree(
        {"warm": ["red", "orange"], "cold": ["blue", "green"]},
        labels={0: "green", 3: "red", 5: "blue"},
    )
    assert hierarchy.level_names == [["warm", "cold"], ["green", "red", "blue", "orange"]]
    assert hierarchy.parents[1].tolist() == [1, 0, 1, 0]
    assert hierarchy.encode(torch.tensor([[0, 1, 3, 5, 6]])).tolist() == [
        [[1, -100, 0, 1, -100]],
        [[0, -100, 1, 2, -100]],
    ]


def test_a_label_of_an_inner_node_leaves_the_levels_below_open() -> None:
    hierarchy = Hierarchy.from_tree(
        {"background": None, "body": {"upper": ["head", "arm"], "lower": ["leg"]}},
        labels={0: "background", 1: "head", 2: "arm", 3: "leg", 4: "body", 5: "upper"},
        void=[255],
    )
    mask = torch.tensor([[0, 4, 5, 255, 1]])
    assert hierarchy.encode(mask)[:, 0].tolist() == [
        [0, 1, 1, -100, 1],
        [0, -100, 1, -100, 1],
        [0, -100, -100, -100, 1],
    ]


def test_several_labels_of_one_leaf() -> None:
    labels = ["background", "left_arm", "head", "right_arm"]
    names = {"left_arm": "arm", "right_arm": "arm"}
    hierarchy = Hierarchy.from_tree(
        {"background": None, "body": ["head", "arm"]}, labels=[names.get(n, n) for n in labels]
    )
    assert hierarchy.level_names[1] == ["background", "arm", "head"]
    assert hierarchy.encode(torch.tensor([[0, 1, 2, 3]]))[1].tolist() == [[0, 1, 2, 1]]


@pytest.mark.parametrize("void", [(), (1,), (255,), (2**62,)])
def test_void_costs_no_memory(void: tuple[int, ...]) -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"], labels={0: "a", 2: "b"}, void=void)
    assert hierarchy.void == void
    mask = torch.tensor([[0, 1, 2, 3, 255, 2**62]])
    assert hierarchy.encode(mask).tolist() == [[[0, -100, 1, -100, -100, -100]]]


def test_the_example_of_the_documentation() -> None:
    import hieraseg.hierarchy

    results = doctest.testmod(sys.modules[hieraseg.hierarchy.__name__])
    assert results.attempted > 0
    assert results.failed == 0


# Mistakes.


@pytest.mark.parametrize(
    ("tree", "settings", "words"),
    [
        ({}, {}, ["empty"]),
        ([], {}, ["empty"]),
        (None, {}, ["the tree", "mapping or a list"]),
        ("head", {}, ["the tree", "'head'"]),
        ({"body": "head"}, {}, ["body", "'head'"]),
        ({"body": {"upper": 3}}, {}, ["body > upper", "3"]),
        ({"body": ["head", 7]}, {}, ["body", "7"]),
        ({"body": ["head", ""]}, {}, ["body", "''"]),
        ({"body": {1: ["head"]}}, {}, ["body", "1"]),
        ({"body": ["head", "head"]}, {}, ["'head'", "twice"]),
        ({"head": {"head": None}}, {}, ["'head'", "twice"]),
        ({"a": ["x"], "b": ["x"]}, {}, ["'x'", "twice"]),
        (["a", "b"], {"labels": ["a", "tail"]}, ["label 1", "'tail'", "a, b"]),
        (["a", "b"], {"labels": {-1: "a"}}, ["label -1", "negative"]),
        (["a", "b"], {"void": [1]}, ["label 1", "void"]),
        (["a", "b"], {"background": "sky"}, ["'sky'"]),
    ],
)
def test_mistakes_are_one_sentence(tree: Any, settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        Hierarchy.from_tree(tree, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


# Random trees against the nested dict.


def breadth_first(start: Node, ancestors: dict[Node, set[Node]]) -> dict[Node, int]:
    """Edges from a node to each node, over the tree's edges and a virtual node above its roots."""
    virtual: Node = (-1, "")
    neighbours: dict[Node, set[Node]] = {virtual: set()}
    for node in ancestors:
        above = next((other for other in ancestors[node] if other[0] == node[0] - 1), virtual)
        neighbours.setdefault(node, set()).add(above)
        neighbours.setdefault(above, set()).add(node)
    distance, queue = {start: 0}, deque([start])
    while queue:
        node = queue.popleft()
        for other in neighbours[node] - distance.keys():
            distance[other] = distance[node] + 1
            queue.append(other)
    return distance


def index_of(names: Iterable[str], name: str) -> int:
    return list(names).index(name)


@given(nested_trees())
def test_ancestors_and_distances_of_random_trees(tree: Tree) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    ancestors, nodes = ancestors_of(tree), nodes_of(hierarchy)
    assert set(nodes) == set(ancestors)
    assert len(nodes) == sum(hierarchy.num_classes) == len(ancestors)
    for row, node in enumerate(nodes):
        edges = breadth_first(node, ancestors)
        for column, other in enumerate(nodes):
            assert hierarchy.ancestors[row, column].item() == (other in ancestors[node])
            assert hierarchy.distances[row, column].item() == edges[other]


@given(nested_trees(), st.randoms(use_true_random=False))
def test_paths_parents_and_encoding_of_random_trees(tree: Tree, random: Any) -> None:
    paths = leaf_paths(tree)
    labels = [path[-1] for path in paths]
    random.shuffle(labels)
    hierarchy = Hierarchy.from_tree(tree, labels=labels)
    names = hierarchy.level_names
    assert names[-1] == labels
    assert hierarchy.num_classes == [len(level) for level in names]
    assert [len(set(level)) for level in names] == hierarchy.num_classes
    by_leaf = {path[-1]: path for path in paths}
    for leaf, indices in enumerate(hierarchy.paths.tolist()):
        path = by_leaf[labels[leaf]]
        assert tuple(names[level][index] for level, index in enumerate(indices)) == path
        for level in range(1, len(path)):
            child, parent = (index_of(names[i], path[i]) for i in (level, level - 1))
            assert hierarchy.parents[level][child] == parent
    encoded = hierarchy.encode(torch.arange(len(labels))[None])
    assert torch.equal(encoded[:, 0].T, hierarchy.paths)


@given(nested_trees(), st.data())
def test_inner_labels_of_random_trees(tree: Tree, data: st.DataObject) -> None:
    everything = sorted({name for _, name in ancestors_of(tree)})
    labels = data.draw(st.lists(st.sampled_from(everything), min_size=1, max_size=8))
    hierarchy = Hierarchy.from_tree(tree, labels=labels)
    encoded = hierarchy.encode(torch.arange(len(labels))[None])[:, 0].T
    for name, classes in zip(labels, encoded.tolist(), strict=True):
        path = next(path for path in leaf_paths(tree) if name in path)
        known = max(level for level, other in enumerate(path) if other == name) + 1
        expected = [index_of(hierarchy.level_names[i], path[i]) for i in range(known)]
        assert classes == expected + [-100] * (len(path) - known)
