"""Class trees and their tensors, compared with hand-written values and with the nested dict."""

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
from tests.support.tensors import Watch
from tests.support.trees import Node, Tree, ancestors_of, leaf_paths, nested_trees, nodes_of


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


def test_pascal_part_ancestors_include_the_node_itself(pascal: Hierarchy) -> None:
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


def test_distances_of_some_nodes_are_linear() -> None:
    hierarchy = Hierarchy.from_tree({f"{i}": [f"{i}.{j}" for j in range(100)] for i in range(20)})
    one, other = torch.tensor([20, 20, 20, 3, 0]), torch.tensor([20, 119, 120, 19, 20])
    with Watch() as seen:
        assert hierarchy.distance(one, other).tolist() == [0, 2, 4, 2, 1]
    assert seen.largest <= hierarchy.num_levels * sum(hierarchy.num_classes)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_pascal_part_encode(pascal: Hierarchy, dtype: torch.dtype) -> None:
    mask = torch.tensor([[[0, 1, 2], [3, 4, 5]], [[6, 7, 100], [0, 0, 1]]], dtype=dtype)
    encoded = pascal.encode(mask, check=False)
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


def test_masks_without_batch_and_with_strides(pascal: Hierarchy) -> None:
    mask = torch.randint(0, 7, (6, 10), dtype=torch.uint8)
    before = mask.clone()
    assert torch.equal(pascal.encode(mask), pascal.encode(mask[None])[0])
    assert torch.equal(pascal.encode(mask.T), pascal.encode(mask).mT)
    assert torch.equal(mask, before)


def test_values_without_a_label_are_refused_or_ignored(pascal: Hierarchy) -> None:
    values = [-1, -2, -100, 7, 8, 255, 2**40, -(2**40)]
    for value in values:
        with pytest.raises(ValueError, match=f"void of the hierarchy: {value}, in 1 of 2 pixels"):
            pascal.encode(torch.tensor([[6, value]]))
    with pytest.raises(ValueError, match=r"-100, -2, -1, 7, \.\.\., in 8 of 9 pixels; fix"):
        pascal.encode(torch.tensor([[*values, 0]]))
    assert pascal.encode(torch.tensor([values]), check=False).eq(-100).all()
    mask = torch.full((2, 2), 255, dtype=torch.uint8)
    assert pascal.encode(mask, check=False).eq(-100).all()
    assert pascal.encode(torch.empty(0, 4, dtype=torch.uint8)).shape == (3, 0, 4)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint16])
def test_void_above_the_labels_is_no_label(dtype: torch.dtype) -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"], void=[255, 65_535])
    mask = torch.tensor([[1, 255, 65_535, 0]]).to(dtype)
    assert hierarchy.encode(mask).tolist() == [[[1, -100, -100, 0]]]
    assert hierarchy.largest_value == 65_535
    with pytest.raises(ValueError, match="hierarchy: 254, in 1 of 1"):
        hierarchy.encode(torch.tensor([[254]]))


# Trees of other shapes.


def test_uneven_depth_carries_chains_down() -> None:
    hierarchy = Hierarchy.from_tree({"sky": None, "thing": {"car": None, "animal": ["cat", "dog"]}})
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
    assert hierarchy.encode(torch.tensor([[2, 0]])).tolist() == [[[2, 0]]]


def test_mappings_within_lists() -> None:
    as_list = Hierarchy.from_tree({"body": ["head", {"legs": ["left", "right"]}]})
    as_mapping = Hierarchy.from_tree(
        {"body": {"head": None, "legs": {"left": None, "right": None}}}
    )
    assert as_list.level_names == as_mapping.level_names
    assert (
        as_list.tree
        == as_mapping.tree
        == {"body": {"head": None, "legs": {"left": None, "right": None}}}
    )
    assert as_list.level_names[2] == ["head", "left", "right"]


def test_leaves_are_sorted_by_label_and_inner_levels_by_tree() -> None:
    hierarchy = Hierarchy.from_tree(
        {"warm": ["red", "orange"], "cold": ["blue", "green"]},
        labels={0: "green", 3: "red", 5: "blue"},
    )
    assert hierarchy.level_names == [["warm", "cold"], ["green", "red", "blue", "orange"]]
    assert hierarchy.parents[1].tolist() == [1, 0, 1, 0]
    assert hierarchy.encode(torch.tensor([[0, 1, 3, 5, 6]]), check=False).tolist() == [
        [[1, -100, 0, 1, -100]],
        [[0, -100, 1, 2, -100]],
    ]


def test_levels_below_an_inner_label_are_ignored() -> None:
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


def test_labels_may_be_sparse_and_16_bit() -> None:
    hierarchy = Hierarchy.from_tree({"a": ["b", "c"]}, labels={65_535: "b", 300: "a"})
    assert hierarchy.level_names == [["a"], ["b", "c"]]
    mask = torch.tensor([[65_535, 300, 0, 65_534]], dtype=torch.int32)
    assert hierarchy.encode(mask, check=False).tolist() == [
        [[0, 0, -100, -100]],
        [[0, -100, -100, -100]],
    ]


def test_no_labels_at_all() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"], labels={})
    assert hierarchy.level_names == [["a", "b"]]
    assert hierarchy.encode(torch.tensor([[0, 1]]), check=False).eq(-100).all()


def test_any_depth() -> None:
    depth = 2_000
    chain: Any = None
    for level in reversed(range(depth)):
        chain = {f"class{level}": chain}
    hierarchy = Hierarchy.from_tree(chain)
    assert hierarchy.num_classes == [1] * depth
    assert hierarchy.level_names[-1] == [f"class{depth - 1}"]


def test_thousands_of_classes() -> None:
    """Five levels down to 5,000 leaves."""

    def branch(name: str, *sizes: int) -> Any:
        return {
            f"{name}.{i}": branch(f"{name}.{i}", *sizes[1:]) if sizes[1:] else None
            for i in range(sizes[0])
        }

    tree = branch("class", 4, 5, 5, 5, 10)
    hierarchy = Hierarchy.from_tree(tree)
    encoded = hierarchy.encode(torch.arange(5_000)[None])
    assert hierarchy.num_classes == [4, 20, 100, 500, 5_000]
    assert torch.equal(encoded[:, 0].T, hierarchy.paths)
    with pytest.raises(ValueError) as caught:
        Hierarchy.from_tree(tree, labels=["unknown class"])
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("void", [(), (1,), (255,), (65_535,)])
def test_void_values_are_ignored(void: tuple[int, ...]) -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"], labels={0: "a", 2: "b"}, void=void)
    assert hierarchy.void == void
    mask = torch.tensor([[0, 1, 2, 3, 255, 2**62]])
    assert hierarchy.encode(mask, check=False).tolist() == [[[0, -100, 1, -100, -100, -100]]]


def test_docstring_examples() -> None:
    results = doctest.testmod(sys.modules[Hierarchy.__module__])
    assert results.attempted > 3
    assert results.failed == 0


# Errors.


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
        ({"body": ["head", "head"]}, {}, ["duplicate class 'head'"]),
        ({"head": {"head": None}}, {}, ["duplicate class 'head'"]),
        ({"a": ["x"], "b": ["x"]}, {}, ["duplicate class 'x'"]),
        (["a", "b"], {"labels": ["a", "tail"]}, ["label 1", "'tail'", "a, b"]),
        (["a", "b"], {"labels": {-1: "a"}}, ["label -1 (a)", "in [0, 65535]"]),
        (["a", "b"], {"void": [1]}, ["label 1", "both void and 'b'"]),
        (["a"], {"labels": {200: "void"}}, ["label 200", "list it as void: [200]"]),
        (["a", "b"], {"labels": {65_536: "a"}}, ["label 65536 (a)", "65535"]),
        (["a", "b"], {"labels": {True: "a"}}, ["label True (a)", "must be an integer"]),
        (["a", "b"], {"void": [65_536]}, ["void 65536", "in [0, 65535]"]),
        (["a", "b"], {"void": [-1]}, ["void -1", "in [0, 65535]"]),
        (["a", "b"], {"labels": "ab"}, ["labels", "list", "'ab'"]),
        (["a", "b"], {"background": "sky"}, ["'sky'", "a, b"]),
        ({"a": ["b"]}, {"background": "a"}, ["'a'", "not a leaf"]),
        ({"body": {}}, {}, ["body is empty", "null"]),
        ({"body": {"upper": []}}, {}, ["body > upper is empty", "null"]),
        ({"body": ["head", {}]}, {}, ["body is empty"]),
        ({"body": ["head", {"leg": ()}]}, {}, ["body > leg is empty"]),
        ({"body": [["head"]]}, {}, ["body", "['head']"]),
        ({"body": ["head", None]}, {}, ["body", "None"]),
        (["l", "r"], {"pairs": ["lr"]}, ["pairs", "'lr'"]),
        (["l", "r"], {"pairs": [("l",)]}, ["pairs", "('l',)"]),
        (["l", "r"], {"pairs": [("l", "l")]}, ["pairs", "('l', 'l')"]),
        (["l", "r"], {"pairs": [("l", "rr")]}, ["pairs", "unknown class 'rr'", "'r'?"]),
        (["l", "r", "x"], {"pairs": [("l", "r"), ("x", "l")]}, ["'l' is in two pairs"]),
        ({"a": ["l"], "b": ["r"]}, {"pairs": [("l", "r")]}, ["'a > l'", "'a > r'"]),
        ({"l": ["a"], "r": ["b"]}, {"pairs": [("l", "r")]}, ["'l > a'", "'r > a'"]),
        ({"l": ["a"], "r": None}, {"pairs": [("l", "r")]}, ["'l > a'", "'r > a'"]),
        ({"a": ["l"], "r": ["b"]}, {"pairs": [("l", "r")]}, ["'a > l'", "'a > r'"]),
        (["l", "r"], {"pairs": [("l", "r")], "labels": {3: "r"}}, ["'r' into 'l'", "label both"]),
    ],
)
def test_errors_are_one_sentence(tree: Any, settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        Hierarchy.from_tree(tree, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


# Left and right.


def test_a_flip_swaps_pairs_on_every_level() -> None:
    hierarchy = Hierarchy.from_tree(
        {"background": None, "body": {"left arm": ["left hand"], "right arm": ["right hand"]}},
        labels={0: "background", 4: "right hand", 2: "left hand", 7: "left arm", 8: "right arm"},
        pairs=[("left arm", "right arm"), ["left hand", "right hand"]],
    )
    assert hierarchy.pairs == [("left arm", "right arm"), ("left hand", "right hand")]
    assert [level.tolist() for level in hierarchy.mirrored] == [[0, 1], [0, 2, 1], [0, 2, 1]]
    assert hierarchy.mirrored_labels.tolist() == [0, 1, 4, 3, 2, 5, 6, 8, 7]
    tables = hierarchy.on(torch.device("cpu"))
    assert torch.equal(tables.mirrored[2], hierarchy.mirrored[2])
    assert torch.equal(tables.mirrored_labels, hierarchy.mirrored_labels)


def test_pairs_of_chains_and_of_nodes_without_labels() -> None:
    hierarchy = Hierarchy.from_tree(
        {"l": None, "r": None, "x": {"y": ["z"]}}, labels={9: "z"}, pairs=[("r", "l")]
    )
    assert hierarchy.level_names[2] == ["z", "l", "r"]
    assert [level.tolist() for level in hierarchy.mirrored] == [[1, 0, 2], [1, 0, 2], [0, 2, 1]]
    assert torch.equal(hierarchy.mirrored_labels, torch.arange(10))


def test_several_labels_of_a_pair_flip_to_the_first() -> None:
    hierarchy = Hierarchy.from_tree(
        ["l", "r"], labels={1: "l", 3: "r", 5: "r", 6: "l"}, pairs=[("l", "r")]
    )
    assert hierarchy.mirrored_labels.tolist() == [0, 3, 2, 1, 4, 1, 3]


def test_without_pairs_a_flip_swaps_nothing(pascal: Hierarchy) -> None:
    assert pascal.pairs == []
    for level, classes in zip(pascal.mirrored, pascal.num_classes, strict=True):
        assert torch.equal(level, torch.arange(classes))
    assert torch.equal(pascal.mirrored_labels, torch.arange(7))


@given(nested_trees(), st.data())
def test_flips_of_random_trees(tree: Tree, data: st.DataObject) -> None:
    """Two mirrored copies of a tree and an unpaired third one."""

    def renamed(branch: Tree, side: str) -> Tree:
        return {
            f"{side} {name}": renamed(children, side) if children else None
            for name, children in branch.items()
        }

    both = {"body": {**renamed(tree, "left"), **renamed(tree, "right")}, **tree}
    names = sorted({name for path in leaf_paths(tree) for name in path})
    sides = [f"{side} {name}" for side in ("left", "right") for name in names]
    labels = data.draw(st.permutations([*names, *sides]))
    pairs = [(f"left {name}", f"right {name}") for name in names]
    hierarchy = Hierarchy.from_tree(both, labels=labels, pairs=data.draw(st.permutations(pairs)))
    mirrored = hierarchy.mirrored
    for level, names_here in enumerate(hierarchy.level_names):
        assert torch.equal(mirrored[level][mirrored[level]], torch.arange(len(names_here)))
        for name, flipped_index in zip(names_here, mirrored[level].tolist(), strict=True):
            side, _, rest = name.partition(" ")
            other = {"left": f"right {rest}", "right": f"left {rest}"}.get(side, name)
            assert names_here[flipped_index] == other
        if level:
            parents = hierarchy.parents[level]
            assert torch.equal(parents[mirrored[level]], mirrored[level - 1][parents])
    values = torch.arange(len(hierarchy.mirrored_labels))[None]
    encoded = hierarchy.encode(values, check=False)
    flipped = hierarchy.encode(hierarchy.mirrored_labels[values], check=False)
    for level, classes in enumerate(encoded):
        expected = torch.where(classes < 0, classes, mirrored[level][classes.clamp(min=0)])
        assert torch.equal(flipped[level], expected)


# Random trees, compared with the nested dict.


def breadth_first(start: Node, ancestors: dict[Node, set[Node]]) -> dict[Node, int]:
    """Number of edges from a node to every other, with a virtual node above the roots."""
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
