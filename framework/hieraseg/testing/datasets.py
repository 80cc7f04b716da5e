"""What every data set has to offer."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from hieraseg.testing.cases import MAIN_TREE
from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract

THREADS = 8


class DatasetContract(ComponentContract):
    """What every data set has to offer (see `contracts.Dataset`).

    Attributes:
        hierarchy: the class tree that it is labelled with, or a function that gives it.
        samples: how many images of each split are read.
    """

    hierarchy: ClassVar[Any] = MAIN_TREE
    samples: ClassVar[int] = 4

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = vars(cls).get("hierarchy")
        if callable(own):
            cls.hierarchy = own()

    def make(self, arguments: Arguments = DEFAULTS) -> Any:
        """The data set."""
        return self.build(arguments, hierarchy=self.hierarchy)

    def some(self, dataset: Any) -> list[str]:
        """The first ids of each split."""
        return [id for split in dataset.splits for id in dataset.ids(split)[: self.samples]]

    def test_it_has_a_size_and_splits(self, arguments: Arguments) -> None:
        """It has a size of two positive ints, and splits, train and val among them."""
        dataset = self.make(arguments)
        for name in ("size", "splits"):
            assert hasattr(dataset, name), f"it has no attribute {name!r} (see contracts.Dataset)"
        size = tuple(dataset.size)
        assert len(size) == 2, f"size is {size}: give height and width"
        assert all(isinstance(side, int) and side > 0 for side in size), (
            f"size is {size}: give positive ints"
        )
        splits = list(dataset.splits)
        assert all(isinstance(split, str) and split for split in splits), f"splits is {splits}"
        assert len(set(splits)) == len(splits), f"splits is {splits}: name each once"
        missing = {"train", "val"} - set(splits)
        assert not missing, f"it has no split {', '.join(sorted(missing))}, which training needs"

    def test_ids_are_unique(self, arguments: Arguments) -> None:
        """Every split has ids, and no id is in two places of the data set."""
        dataset, seen = self.make(arguments), dict[str, str]()
        for split in dataset.splits:
            ids = dataset.ids(split)
            assert ids, f"the split {split!r} has no ids"
            for id in ids:
                is_text = isinstance(id, str) and id
                assert is_text, f"an id of {split!r} is {id!r}: give texts"
                assert id not in seen, (
                    f"the id {id!r} is in {seen[id]!r} and in {split!r}: an id names one image "
                    "of the data set, and its output files"
                )
                seen[id] = split

    def test_ids_are_file_names(self, arguments: Arguments) -> None:
        """An id can name an output file, in no folder but that of the output."""
        dataset = self.make(arguments)
        for id in (id for split in dataset.splits for id in dataset.ids(split)):
            assert id.isprintable(), f"the id {id!r} has characters that no file name has"
            steps = id.replace("\\", "/").split("/")
            assert not {"..", ""} & set(steps), (
                f"the id {id!r} as a file name would leave the folder: leave out the root"
            )

    def test_ids_and_fingerprints_are_stable(self, arguments: Arguments) -> None:
        """Opened again, it has the same ids in the same order, and the same fingerprints."""
        one, other = self.make(arguments), self.make(arguments)
        for split in one.splits:
            assert list(one.ids(split)) == list(other.ids(split)) == list(one.ids(split)), (
                f"the ids of {split!r} are others the second time: sort what a folder lists"
            )
            assert one.fingerprint(split) == other.fingerprint(split), (
                f"the fingerprint of {split!r} is another the second time, so that images "
                "would be decoded for each run"
            )

    def test_fingerprints_tell_splits_apart(self, arguments: Arguments) -> None:
        """The fingerprint of a split is a text of its own."""
        dataset = self.make(arguments)
        prints = [dataset.fingerprint(split) for split in dataset.splits]
        assert all(isinstance(one, str) and one for one in prints), (
            f"fingerprints are {prints}: give texts"
        )
        assert len(set(prints)) == len(prints), "two splits have the same fingerprint"

    def test_images_and_masks_are_bytes_of_one_size(self, arguments: Arguments) -> None:
        """An image is uint8 [H, W, 3], its mask uint8 [H, W] of the same size."""
        dataset = self.make(arguments)
        for id in self.some(dataset):
            image, mask = dataset.image(id), dataset.mask(id)
            for name, array, ndim in (("image", image, 3), ("mask", mask, 2)):
                assert isinstance(array, np.ndarray), (
                    f"the {name} of {id!r} is a {type(array).__name__}: give a numpy array"
                )
                assert array.dtype == np.uint8, f"the {name} of {id!r} is {array.dtype}: give uint8"
                assert array.ndim == ndim, f"the {name} of {id!r} has shape {array.shape}"
                assert array.size, f"the {name} of {id!r} has no pixels"
            assert image.shape[2] == 3, f"the image of {id!r} has shape {image.shape}: give RGB"
            assert image.shape[:2] == mask.shape, (
                f"the image of {id!r} has shape {image.shape}, its mask {mask.shape}"
            )

    def test_labels_are_those_of_the_hierarchy(self, arguments: Arguments) -> None:
        """Masks have no label value but those of the hierarchy, and not void alone."""
        dataset = self.make(arguments)
        seen: set[int] = set()
        for id in self.some(dataset):
            values = set(np.unique(dataset.mask(id)).tolist())
            unknown = values - {*self.hierarchy.labels, *self.hierarchy.void}
            assert not unknown, (
                f"the mask of {id!r} has the values {sorted(unknown)}, which the hierarchy does "
                "not know: name them in its `labels` or `void`, or choose its own hierarchy"
            )
            seen |= values
        assert seen & set(self.hierarchy.labels), "the masks are void everywhere"

    def test_reading_again_gives_the_same(self, arguments: Arguments) -> None:
        """An image and a mask are the same each time, also after what was read is written to."""
        dataset, other = self.make(arguments), self.make(arguments)
        for id in self.some(dataset):
            for name in ("image", "mask"):
                first = getattr(dataset, name)(id)
                kept = first.copy()
                if first.flags.writeable:
                    first[...] = 255 - first
                for again in (getattr(dataset, name)(id), getattr(other, name)(id)):
                    assert np.array_equal(again, kept), (
                        f"the {name} of {id!r} is another the second time: draw nothing at "
                        "random without a seed, and give out copies of what is cached"
                    )

    def test_threads_read_the_same(self, arguments: Arguments) -> None:
        """Read by several threads at once, images and masks are the same."""
        dataset = self.make(arguments)
        ids = self.some(dataset)
        expected = [(dataset.image(id), dataset.mask(id)) for id in ids]
        fresh = self.make(arguments)

        def read(id: str) -> tuple[Any, Any]:
            return fresh.image(id), fresh.mask(id)

        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(read, ids * 4))
        for id, pair, right in zip(ids * 4, found, expected * 4, strict=True):
            assert all(map(np.array_equal, pair, right)), (
                f"read by {THREADS} threads at once, {id!r} is another image or mask: keep no "
                "state that threads share, such as an open file's position"
            )
