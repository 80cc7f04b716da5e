"""The contract of hierarchies."""

from typing import cast

import pytest
import torch

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.hierarchy.rules import LARGEST_LABEL
from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract


class HierarchyContract(ComponentContract):
    """The contract of hierarchies: functions that return a `hieraseg.Hierarchy`."""

    def make(self, arguments: Arguments = DEFAULTS) -> Hierarchy:
        """Build the class tree."""
        return cast(Hierarchy, self.build(arguments))

    def test_returns_a_hierarchy(self, arguments: Arguments) -> None:
        """It returns a class tree with classes on each level."""
        hierarchy = self.make(arguments)
        assert min(hierarchy.num_classes) > 0, "a level has no classes"

    def test_building_is_repeatable(self, arguments: Arguments) -> None:
        """Building again gives the same classes, order of classes, and labels."""
        one, other = self.make(arguments), self.make(arguments)
        for name in ("level_names", "labels", "void", "background", "pairs"):
            assert getattr(one, name) == getattr(other, name), (
                f"its {name} change between calls: use lists, since sets have no order"
            )
        assert torch.equal(one.paths, other.paths), "its paths change between calls"

    def test_labels_fit_into_masks(self, arguments: Arguments) -> None:
        """Label and void values are in 0..65535, as masks have 16 bits, and do not overlap."""
        hierarchy = self.make(arguments)
        assert hierarchy.labels, "there are no labels, so a mask cannot contain any class"
        values = [*hierarchy.labels, *hierarchy.void]
        assert all(isinstance(one, int) for one in values), f"labels must be ints, got {values}"
        outside = [one for one in values if not 0 <= one <= LARGEST_LABEL]
        assert not outside, f"label values must be in 0..{LARGEST_LABEL}, got {outside}"
        both = set(hierarchy.labels) & set(hierarchy.void)
        assert not both, f"the values {sorted(both)} are both labels and void: remove one"

    def test_labels_are_encoded_as_paths(self, arguments: Arguments) -> None:
        """Labels are encoded as their class and all classes above it, and void as ignored."""
        hierarchy = self.make(arguments)
        values = torch.tensor(list(hierarchy.labels))
        encoded = hierarchy.encode(values.view(1, 1, -1))[0, :, 0]
        for value, classes in zip(hierarchy.labels, encoded.T.tolist(), strict=True):
            known = [one for one in classes if one != IGNORE_INDEX]
            assert classes[: len(known)] == known, f"label {value} is known below unknown levels"
            assert known, f"label {value} is not known on any level"
            names = [hierarchy.level_names[level][one] for level, one in enumerate(known)]
            assert names[-1] == hierarchy.labels[value], (
                f"label {value} is {hierarchy.labels[value]!r}, but is encoded as {names[-1]!r}"
            )
            for level in range(1, len(known)):
                parent = int(hierarchy.parents[level][known[level]])
                assert parent == known[level - 1], (
                    f"label {value} is encoded as {names}, which is not a path of the tree"
                )
        void = hierarchy.encode(torch.tensor([[hierarchy.void]]).long())
        assert void.eq(IGNORE_INDEX).all(), "void is not ignored on all levels"

    def test_every_leaf_has_a_label(self, arguments: Arguments) -> None:
        """Every leaf has a label; leaves without one cannot be trained, and are listed here."""
        hierarchy = self.make(arguments)
        labelled = set(hierarchy.labels.values())
        bare = [name for name in hierarchy.level_names[-1] if name not in labelled]
        if bare:
            pytest.skip(f"leaves without a label, which cannot be trained: {', '.join(bare)}")

    def test_flips_keep_the_tree(self, arguments: Arguments) -> None:
        """A horizontal flip keeps parents, and flipping twice changes nothing."""
        hierarchy = self.make(arguments)
        for level, mirrored in enumerate(hierarchy.mirrored):
            assert torch.equal(mirrored[mirrored], torch.arange(len(mirrored))), (
                f"flipping twice changes classes of level {level + 1}"
            )
            if level:
                above = hierarchy.mirrored[level - 1][hierarchy.parents[level]]
                assert torch.equal(hierarchy.parents[level][mirrored], above), (
                    f"a flip changes the parents of classes of level {level + 1}"
                )

    def test_tree_round_trip(self, arguments: Arguments) -> None:
        """`Hierarchy.from_tree` builds the same classes and paths from its tree."""
        hierarchy = self.make(arguments)
        again = Hierarchy.from_tree(hierarchy.tree, labels=hierarchy.labels)
        assert again.level_names == hierarchy.level_names, "its tree has other classes"
        assert torch.equal(again.paths, hierarchy.paths), "its tree has other paths"
