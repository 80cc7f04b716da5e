"""What every hierarchy has to offer."""

import pytest
import torch

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract

LARGEST_LABEL = 255
"""Masks are uint8."""


class HierarchyContract(ComponentContract):
    """What every hierarchy has to offer: a function that returns a `hieraseg.Hierarchy`."""

    def make(self, arguments: Arguments = DEFAULTS) -> Hierarchy:
        """The class tree."""
        made = self.build(arguments)
        assert isinstance(made, Hierarchy), (
            f"it gives a {type(made).__name__}: return a `hieraseg.Hierarchy`, as from "
            "`Hierarchy.from_tree`"
        )
        return made

    def test_it_gives_a_hierarchy(self, arguments: Arguments) -> None:
        """It gives a class tree with a class on each level."""
        hierarchy = self.make(arguments)
        assert min(hierarchy.num_classes) > 0, "a level has no classes"

    def test_the_same_again_gives_the_same(self, arguments: Arguments) -> None:
        """Asked again, it gives the same classes in the same order, and the same labels."""
        one, other = self.make(arguments), self.make(arguments)
        for what in ("level_names", "labels", "void", "background", "pairs"):
            assert getattr(one, what) == getattr(other, what), (
                f"its {what} are others the second time: a set has no order, so list names"
            )
        assert torch.equal(one.paths, other.paths), "its paths are others the second time"

    def test_labels_fit_into_a_mask(self, arguments: Arguments) -> None:
        """Label and void values are 0 to 255, as masks are uint8, and none is both."""
        hierarchy = self.make(arguments)
        assert hierarchy.labels, "it has no labels: no pixel of a mask can mean any class"
        values = [*hierarchy.labels, *hierarchy.void]
        assert all(isinstance(one, int) for one in values), f"not all of {values} are ints"
        outside = [one for one in values if not 0 <= one <= LARGEST_LABEL]
        assert not outside, f"the label values {outside} do not fit into a uint8 mask"
        both = set(hierarchy.labels) & set(hierarchy.void)
        assert not both, f"the values {sorted(both)} are labels and void: keep one"

    def test_labels_are_encoded_as_paths(self, arguments: Arguments) -> None:
        """Each label becomes its class and all classes above, and void none."""
        hierarchy = self.make(arguments)
        values = torch.tensor(list(hierarchy.labels))
        encoded = hierarchy.encode(values.view(1, 1, -1))[0, :, 0]
        for value, classes in zip(hierarchy.labels, encoded.T.tolist(), strict=True):
            known = [one for one in classes if one != IGNORE_INDEX]
            assert classes[: len(known)] == known, f"label {value} is known below unknown levels"
            assert known, f"label {value} is known on no level"
            names = [hierarchy.level_names[level][one] for level, one in enumerate(known)]
            assert names[-1] == hierarchy.labels[value], (
                f"label {value} is {hierarchy.labels[value]!r}, but is encoded as {names[-1]!r}"
            )
            for level in range(1, len(known)):
                parent = int(hierarchy.parents[level][known[level]])
                assert parent == known[level - 1], (
                    f"label {value} is encoded as {names}, which is no path of the tree"
                )
        void = hierarchy.encode(torch.tensor([[hierarchy.void]]).long())
        assert void.eq(IGNORE_INDEX).all(), "void is not ignored on all levels"

    def test_every_leaf_has_a_label(self, arguments: Arguments) -> None:
        """Every leaf has a label, or is named here: nothing can train it."""
        hierarchy = self.make(arguments)
        labelled = set(hierarchy.labels.values())
        bare = [name for name in hierarchy.level_names[-1] if name not in labelled]
        if bare:
            pytest.skip(f"leaves without a label, which nothing trains: {', '.join(bare)}")

    def test_a_flip_keeps_the_tree(self, arguments: Arguments) -> None:
        """Flipped left to right, the tree is the same tree, and flipped twice all is as before."""
        hierarchy = self.make(arguments)
        for level, mirrored in enumerate(hierarchy.mirrored):
            assert torch.equal(mirrored[mirrored], torch.arange(len(mirrored))), (
                f"flipped twice, level {level + 1} is not as before"
            )
            if level:
                above = hierarchy.mirrored[level - 1][hierarchy.parents[level]]
                assert torch.equal(hierarchy.parents[level][mirrored], above), (
                    f"flipped, classes of level {level + 1} have other parents"
                )

    def test_its_tree_makes_it_again(self, arguments: Arguments) -> None:
        """Its tree, given to `Hierarchy.from_tree`, makes the same classes and paths."""
        hierarchy = self.make(arguments)
        again = Hierarchy.from_tree(hierarchy.tree, labels=hierarchy.labels)
        assert again.level_names == hierarchy.level_names, "its tree has other classes than it"
        assert torch.equal(again.paths, hierarchy.paths), "its tree has other paths than it"
