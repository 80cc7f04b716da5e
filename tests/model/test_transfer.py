"""Weights of another run: what fits, and classes by their names."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hieraseg import Hierarchy, registry
from hieraseg.contracts import has_argument
from hieraseg.model.transfer import class_levels, probe_tree, transfer

OLD = [["background", "animal"], ["background", "cat", "dog"]]
NEW = [["background", "animal"], ["background", "dog", "cow"]]
"""As many classes, so that sizes of tensors tell nothing."""
TREE = Hierarchy.from_tree(
    {"sky": None, "body": {"arms": ["left", "right"], "legs": None}}, background="sky"
)
CHANNELS, STRIDES = [4, 6], [2, 4]


def states(make: Any) -> tuple[dict[str, Tensor], dict[str, Tensor], list[int], list[int]]:
    """Tensors of a module for the tree and for the probe, and the numbers of their classes."""
    probe = probe_tree(TREE)
    both = [make(tree, tree.num_classes).state_dict() for tree in (TREE, probe)]
    return both[0], both[1], TREE.num_classes, probe.num_classes


def decoder(name: str, **arguments: Any) -> Any:
    def make(tree: Hierarchy, num_classes: list[int]) -> nn.Module:
        factory = registry.decoders.get(name)
        supplied = {"strides": STRIDES, "hierarchy": tree}
        own = {key: one for key, one in supplied.items() if has_argument(factory, key)}
        built: nn.Module = factory(channels=CHANNELS, num_classes=num_classes, **own, **arguments)
        return built

    return make


def test_the_probe_has_other_numbers_of_classes() -> None:
    probe = probe_tree(TREE)
    assert probe.num_levels == TREE.num_levels
    assert probe.background == "sky"
    assert [names[0] for names in probe.level_names] == ["sky"] * 3
    sizes = [
        probe_size - size
        for probe_size, size in zip(probe.num_classes, TREE.num_classes, strict=True)
    ]
    assert sizes == [7, 11, 19]
    deep: dict[str, Any] = {str(level): None for level in range(3)}
    for level in range(10):
        deep = {f"{level}_": deep, f"{level}__": None}
    with pytest.raises(ValueError):
        probe_tree(Hierarchy.from_tree(deep))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (decoder("linear"), {f"classifiers.{level}": (level,) for level in range(3)}),
        (
            decoder("skip", width=8),
            {f"branches.{level}.classifier": (level,) for level in range(3)},
        ),
    ],
)
def test_classifiers_are_found(make: Any, expected: dict[str, tuple[int, ...]]) -> None:
    tensors = {f"{name}.{kind}" for name in expected for kind in ("weight", "bias")}
    assert class_levels(*states(make)) == {
        name: expected[name.rpartition(".")[0]] for name in tensors
    }


def test_classifiers_of_all_levels_at_once_are_found() -> None:
    found = class_levels(*states(decoder("hyperbolic", width=8, dimensions=4)))
    assert found == {f"gyroplanes.{name}": (0, 1, 2) for name in ("offsets", "normals")}


def test_other_dependence_on_the_classes_is_not_taken_for_classifiers() -> None:
    class Odd(nn.Module):
        """What depends on the classes of a level in its columns, twice, and one by one."""

        def __init__(self, tree: Hierarchy, num_classes: list[int]) -> None:
            super().__init__()
            self.columns = nn.Linear(num_classes[0], 3, bias=False)
            self.twice = nn.Parameter(torch.zeros(2 * num_classes[1]))
            self.void = nn.Parameter(torch.zeros(num_classes[1] + 1))
            self.product = nn.Parameter(torch.zeros(num_classes[1], num_classes[2]))
            self.each = nn.ModuleList(nn.Linear(2, 1, bias=False) for _ in range(num_classes[2]))
            self.levels = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in num_classes)
            self.register_buffer("parents", tree.parents[1])
            self.plain = nn.Linear(3, num_classes[0])

    found = class_levels(*states(Odd))
    each = [f"each.{row}.weight" for row in range(TREE.num_classes[2])]
    assert found == {
        **dict.fromkeys(["columns.weight", "twice", "void", "product", "parents", *each], ()),
        "plain.weight": (0,),
        "plain.bias": (0,),
    }


def test_rows_by_hand() -> None:
    """The dog is in row 2 of the old head, and in row 1 of the new one; the cow is new."""
    own = {"head.weight": torch.tensor([[1.0, 1], [2, 2], [3, 3]]), "body": torch.zeros(3)}
    old = {"head.weight": torch.tensor([[7.0, 7], [8, 8], [9, 9]]), "body": torch.ones(3)}
    result = transfer(own, old, {"head.weight": (1,)}, NEW, OLD)
    assert result.weights["head.weight"].tolist() == [[7, 7], [9, 9], [3, 3]]
    assert result.weights["body"].tolist() == [1, 1, 1]
    assert result.kept == {1: {"background", "dog"}}
    assert result.problems == ["1 of other classes (head.weight)"]
    assert own["head.weight"].tolist() == [[1, 1], [2, 2], [3, 3]]


def test_the_same_classes_in_another_order_fit() -> None:
    swapped = [OLD[0], ["dog", "background", "cat"]]
    own, old = {"head": torch.zeros(3)}, {"head": torch.tensor([1.0, 2, 3])}
    result = transfer(own, old, {"head": (1,)}, swapped, OLD)
    assert result.weights["head"].tolist() == [3, 1, 2]
    assert result.problems == []


def test_rows_of_all_levels() -> None:
    own, old = {"head": torch.zeros(5)}, {"head": torch.tensor([1.0, 2, 3, 4, 5])}
    result = transfer(own, old, {"head": (0, 1)}, NEW, OLD)
    assert result.weights["head"].tolist() == [1, 2, 3, 5, 0]
    assert result.kept == {0: {"background", "animal"}, 1: {"background", "dog"}}


def test_another_number_of_levels() -> None:
    """A head is that of the only level with so many classes."""
    own, old = {"head": torch.zeros(3)}, {"head": torch.tensor([1.0, 2, 3])}
    deeper = [*NEW, ["background", "pug", "cow"]]
    result = transfer(own, old, {"head": (1,)}, deeper, OLD)
    assert result.weights["head"].tolist() == [1, 3, 0]
    for ambiguous in ([OLD[1]], [*OLD, ["background", "cat", "pug"], ["background"]]):
        result = transfer(own, old, {"head": (1,)}, deeper, ambiguous)
        assert (result.weights, result.other_classes) == ({}, ["head"])


@pytest.mark.parametrize("given", [torch.zeros(4), torch.zeros(3, 2), torch.zeros(())])
def test_heads_of_other_shapes_stay(given: Tensor) -> None:
    result = transfer({"head": torch.zeros(3)}, {"head": given}, {"head": (1,)}, NEW, OLD)
    assert (result.weights, result.other_classes, result.kept) == ({}, ["head"], {})


def test_what_does_not_fit_is_named() -> None:
    own = {name: torch.zeros(2) for name in ("a", "b", "c", "d", "n.num_batches_tracked")}
    given = {"a": torch.ones(2), "b": torch.ones(3), **{f"x{i}": torch.ones(1) for i in range(4)}}
    result = transfer(own, given, {}, NEW, NEW)
    assert list(result.weights) == ["a"]
    assert result.problems == [
        "2 missing (c, d)",
        "4 unexpected (x0, x1, x2, ...)",
        "1 of another shape or type (b, [3] instead of [2])",
    ]
