"""The contract of data sets."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from hieraseg.data.checking import id_problem
from hieraseg.data.label_names import label_names, naming_problem
from hieraseg.hierarchy import VOID
from hieraseg.testing.cases import MAIN_TREE
from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract

THREADS = 8


class DatasetContract(ComponentContract):
    """The contract of data sets (see `contracts.Dataset`).

    Attributes:
        hierarchy: class tree of the labels, or a function that returns it.
        samples: number of images to read from each split.
    """

    hierarchy: ClassVar[Any] = MAIN_TREE
    samples: ClassVar[int] = 4

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = vars(cls).get("hierarchy")
        if callable(own):
            cls.hierarchy = own()

    def supplied(self) -> dict[str, Any]:
        return {"hierarchy": self.hierarchy}

    def make(self, arguments: Arguments = DEFAULTS) -> Any:
        """Build the data set."""
        return self.build(arguments, **self.supplied())

    def sample_ids(self, dataset: Any) -> list[str]:
        """The first ids of each split."""
        return [id for split in dataset.splits for id in dataset.ids(split)[: self.samples]]

    def test_splits_are_valid(self, arguments: Arguments) -> None:
        """`splits` contains train and val."""
        dataset = self.make(arguments)
        assert hasattr(dataset, "splits"), "missing attribute 'splits' (see contracts.Dataset)"
        splits = list(dataset.splits)
        assert all(isinstance(split, str) and split for split in splits), (
            f"splits must be non-empty strings, got {splits}"
        )
        assert len(set(splits)) == len(splits), f"splits has duplicates: {splits}"
        missing = {"train", "val"} - set(splits)
        assert not missing, f"missing split {', '.join(sorted(missing))}, which training needs"

    def test_ids_are_unique(self, arguments: Arguments) -> None:
        """Every split has ids, and ids are unique in the data set."""
        dataset, seen = self.make(arguments), dict[str, str]()
        for split in dataset.splits:
            ids = dataset.ids(split)
            assert ids, f"the split {split!r} has no ids"
            for id in ids:
                is_valid = isinstance(id, str) and id
                assert is_valid, f"invalid id {id!r} in {split!r}: use non-empty strings"
                assert id not in seen, (
                    f"duplicate id {id!r} in {seen[id]!r} and in {split!r}: an id identifies one "
                    "image of the data set, and names its output files"
                )
                seen[id] = split

    def test_ids_are_file_names(self, arguments: Arguments) -> None:
        """Ids are valid as names of output files."""
        dataset = self.make(arguments)
        for id in (id for split in dataset.splits for id in dataset.ids(split)):
            assert id.isprintable(), f"the id {id!r} has characters that are not printable"
            problem = id_problem(id)
            assert not problem, f"the id {id!r} {problem}"

    def test_ids_and_fingerprints_are_stable(self, arguments: Arguments) -> None:
        """A data set that is opened again has the same ids, order and fingerprints."""
        one, other = self.make(arguments), self.make(arguments)
        for split in one.splits:
            assert list(one.ids(split)) == list(other.ids(split)) == list(one.ids(split)), (
                f"the ids of {split!r} change between calls: sort the files of a folder"
            )
            assert one.fingerprint(split) == other.fingerprint(split), (
                f"the fingerprint of {split!r} changes between calls, so that every run would "
                "decode the images again"
            )

    def test_fingerprints_of_splits_differ(self, arguments: Arguments) -> None:
        """Each split has its own fingerprint, a non-empty string."""
        dataset = self.make(arguments)
        prints = [dataset.fingerprint(split) for split in dataset.splits]
        assert all(isinstance(one, str) and one for one in prints), (
            f"fingerprints must be non-empty strings, got {prints}"
        )
        assert len(set(prints)) == len(prints), "two splits have the same fingerprint"

    def test_images_and_masks_are_arrays_of_the_same_size(self, arguments: Arguments) -> None:
        """Images are uint8 [H, W, 3], and their masks uint8 or uint16 [H, W]."""
        dataset = self.make(arguments)
        for id in self.sample_ids(dataset):
            image, mask = dataset.image(id), dataset.mask(id)
            for name, array, ndim in (("image", image, 3), ("mask", mask, 2)):
                assert isinstance(array, np.ndarray), (
                    f"the {name} of {id!r} must be a numpy array, got {type(array).__name__}"
                )
                dtypes = ("uint8",) if name == "image" else ("uint8", "uint16")
                assert array.dtype.name in dtypes, (
                    f"the {name} of {id!r} must be {' or '.join(dtypes)}, got {array.dtype}"
                )
                assert array.ndim == ndim, f"the {name} of {id!r} has shape {array.shape}"
                assert array.size, f"the {name} of {id!r} has no pixels"
            assert image.shape[2] == 3, (
                f"the image of {id!r} must have 3 channels, got shape {image.shape}"
            )
            assert image.shape[:2] == mask.shape, (
                f"the image of {id!r} has shape {image.shape}, but its mask {mask.shape}"
            )

    def test_labels_belong_to_the_hierarchy(self, arguments: Arguments) -> None:
        """Masks contain only labels and void values, and not only void."""
        dataset = self.make(arguments)
        seen: set[int] = set()
        for id in self.sample_ids(dataset):
            values = set(np.unique(dataset.mask(id)).tolist())
            unknown = values - {*self.hierarchy.labels, *self.hierarchy.void, VOID}
            assert not unknown, (
                f"the mask of {id!r} has the values {sorted(unknown)}, which the hierarchy does "
                "not know: add them to its `labels` or `void`, or choose another hierarchy"
            )
            seen |= values
        assert seen & set(self.hierarchy.labels), "the masks contain only void"

    def test_label_names_agree_with_the_hierarchy(self, arguments: Arguments) -> None:
        """If it has `label_names`, no class of the hierarchy has the name of another label."""
        problem = naming_problem(label_names(self.make(arguments)), self.hierarchy)
        assert problem is None, problem

    def test_reading_is_repeatable(self, arguments: Arguments) -> None:
        """Reading again gives the same pixels, even if the first array was modified."""
        dataset, other = self.make(arguments), self.make(arguments)
        for id in self.sample_ids(dataset):
            for name in ("image", "mask"):
                first = getattr(dataset, name)(id)
                kept = first.copy()
                if first.flags.writeable:
                    first[...] = 255 - first
                for again in (getattr(dataset, name)(id), getattr(other, name)(id)):
                    assert np.array_equal(again, kept), (
                        f"the {name} of {id!r} changes between calls: seed all randomness, and "
                        "return copies of cached arrays"
                    )

    def test_reading_is_thread_safe(self, arguments: Arguments) -> None:
        """Reading from several threads at once gives the same images and masks."""
        dataset = self.make(arguments)
        ids = self.sample_ids(dataset)
        expected = [(dataset.image(id), dataset.mask(id)) for id in ids]
        fresh = self.make(arguments)

        def read(id: str) -> tuple[Any, Any]:
            return fresh.image(id), fresh.mask(id)

        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(read, ids * 4))
        for id, pair, right in zip(ids * 4, found, expected * 4, strict=True):
            assert all(map(np.array_equal, pair, right)), (
                f"read from {THREADS} threads at once, the image or mask of {id!r} differs: "
                "threads must not share state, such as the position in an open file"
            )
