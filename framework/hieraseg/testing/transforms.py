"""The contract of transforms."""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hieraseg.contracts import Transform
from hieraseg.data.batches.batch import map_tensors
from hieraseg.draws import Draws, Numbers
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe.arguments import arguments_of
from hieraseg.testing.capturing import assert_capturable
from hieraseg.testing.cases import Size
from hieraseg.testing.component import DEFAULTS, Arguments, CapturableContract, TreeContract
from hieraseg.training.cost import like_on_gpu

SIZE = (4, 17, 23)
SIZES: tuple[Size, ...] = ((1, 1, 1), (1, 5, 9), (2, 33, 2), (3, 16, 16), (1, 1, 40))
SEEDS = range(8)
"""Seeds of the draws: enough that a transform of half of the images does all that it can."""

PROBABILITY = "probability"
ROUNDING = 1e-5


class TransformContract(TreeContract, CapturableContract):
    """The contract of transforms (see `contracts.Transform`)."""

    def supplied(self, hierarchy: Hierarchy | None = None) -> dict[str, Any]:
        """Arguments that the runner supplies, by default for the main tree."""
        return {"hierarchy": hierarchy or self.hierarchy}

    def make(
        self, arguments: Arguments = DEFAULTS, hierarchy: Hierarchy | None = None
    ) -> Transform:
        """Build the transform, by default for the main tree."""
        transform: Transform = self.build(arguments, **self.supplied(hierarchy))
        return transform

    def mixes(self) -> bool:
        """Whether it says that it mixes the images of a batch."""
        return bool(getattr(self.component, "mixes", False))

    def assert_capturable(self, arguments: Arguments) -> None:
        transform, (images, masks) = self.make(arguments), batch(self.hierarchy, 0)
        random = draws(images, 0)
        transform(images, masks, random)
        numbers = draws(images, 0).numbers(random.taken)
        assert_capturable(transform, changed, [images, masks, *numbers])

    def check(
        self, result: Any, images: Tensor, masks: Tensor, hierarchy: Hierarchy
    ) -> tuple[Tensor, Tensor]:
        """Assert that a result is images and masks, and return them."""
        is_pair = isinstance(result, tuple) and [*map(type, result)] == [Tensor, Tensor]
        assert is_pair, f"it must return a tuple of two tensors, images and masks, got {result!r}"
        for name, before, after in zip(("images", "masks"), (images, masks), result, strict=True):
            for what in ("shape", "dtype", "device"):
                found, expected = getattr(after, what), getattr(before, what)
                assert found == expected, f"{what} of the {name}: {found} instead of {expected}"
        assert result[0].isfinite().all(), "the images have values that are not finite"
        low, high = result[0].aminmax()
        assert -ROUNDING <= low <= high <= 1 + ROUNDING, (
            f"the images have values from {low:g} to {high:g}: keep them in 0..1, as with `clamp`"
        )
        unknown = set(result[1].unique().tolist()) - {
            *hierarchy.labels,
            *hierarchy.void,
            hierarchy.void_value,
        }
        assert not unknown, (
            f"the masks have the values {sorted(unknown)}, which the hierarchy does not know: "
            "use its labels, or `hierarchy.void_value`"
        )
        return result

    def check_results(self, arguments: Arguments, hierarchy: Hierarchy, size: Size = SIZE) -> None:
        """Assert that the results of random batches are valid."""
        transform = self.make(arguments, hierarchy)
        for seed, images, masks in batches(hierarchy, size):
            result = transform(images, masks, draws(images, seed))
            self.check(result, images, masks, hierarchy)

    def test_results_are_valid(self, arguments: Arguments) -> None:
        """It returns images in 0..1 and masks of known labels, of the same shape and dtype."""
        self.check_results(arguments, self.hierarchy)

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_sizes(self, arguments: Arguments, size: Size) -> None:
        """It works for batches of one, odd sizes, and images of one pixel."""
        self.check_results(arguments, self.hierarchy, size)

    def test_trees_of_every_shape(self, tree: Hierarchy) -> None:
        """It works for the labels of trees of every shape."""
        self.check_results(self.settings[0], tree)

    def test_wide_labels(self) -> None:
        """It works for label values above 255, whose masks are int32."""
        if not self.trees:
            pytest.skip("only checked on the chosen tree")
        self.check_results(self.settings[0], WIDE)

    def test_inputs_are_not_modified(self, arguments: Arguments) -> None:
        """It does not modify the images and masks that it gets."""
        transform = self.make(arguments)
        for seed, images, masks in batches(self.hierarchy):
            before = images.clone(), masks.clone()
            transform(images, masks, draws(images, seed))
            for name, one, other in zip(("images", "masks"), before, (images, masks), strict=True):
                assert torch.equal(one, other), (
                    f"it modifies the {name}: clone them before writing in place"
                )

    def test_all_randomness_comes_from_the_draws(self, arguments: Arguments) -> None:
        """The same draws give the same result, and no other random numbers are used."""
        transform, other = self.make(arguments), self.make(arguments)
        for seed, images, masks in batches(self.hierarchy):
            with unused_global_randomness():
                first = transform(images, masks, draws(images, seed))
            for again in (transform, other):
                result = again(images, masks, draws(images, seed))
                assert all(map(torch.equal, first, result)), (
                    "the same draws give another result: take all random numbers from `draws`, "
                    "and keep nothing from call to call"
                )

    def test_each_step_draws_equally_many_numbers(self, arguments: Arguments) -> None:
        """How many random numbers it draws depends neither on the images nor on their number."""
        transform = self.make(arguments)
        taken = set()
        for size in (SIZE, *SIZES):
            for seed, images, masks in batches(self.hierarchy, size):
                random = draws(images, seed)
                transform(images, masks, random)
                taken.add(random.taken)
        assert len(taken) == 1, (
            f"it draws {min(taken)} numbers in one step and {max(taken)} in another: draw them "
            "first, whether or not an image is chosen"
        )

    def test_number_of_processes_does_not_matter(self, arguments: Arguments) -> None:
        """Two processes that share a batch give the same result as one."""
        self.skip_if_it_mixes()
        transform = self.make(arguments)
        for seed, images, masks in batches(self.hierarchy):
            expected = transform(images, masks, draws(images, seed))
            for rank in range(2):
                own = images[rank::2], masks[rank::2]
                found = transform(*own, draws(own[0], seed, rank, 2))
                same = (
                    torch.equal(one[rank::2], two) for one, two in zip(expected, found, strict=True)
                )
                assert all(same), (
                    "images differ when two processes share the batch: draw numbers for all "
                    "images, whether or not they are chosen"
                )

    def test_images_are_independent(self, arguments: Arguments) -> None:
        """The result of an image does not depend on the other images of the batch."""
        self.skip_if_it_mixes()
        transform = self.make(arguments)
        for seed, images, masks in batches(self.hierarchy):
            expected = transform(images, masks, draws(images, seed))
            for row in range(len(images)):
                others, other_masks = batch(self.hierarchy, seed + 1000)
                others[row], other_masks[row] = images[row], masks[row]
                found = transform(others, other_masks, draws(images, seed))
                same = (
                    torch.equal(one[row], two[row])
                    for one, two in zip(expected, found, strict=True)
                )
                assert all(same), (
                    "the result of an image depends on the other images of the batch: if the "
                    "transform mixes images, say so with the class attribute `mixes = True`"
                )

    def test_changing_all_images_gives_the_same(self, arguments: Arguments) -> None:
        """With `where_chosen`, a GPU, which changes all images, gives the same as a CPU."""
        transform = self.make(arguments)
        for seed, images, masks in batches(self.hierarchy):
            random = draws(images, seed)
            expected = transform(images, masks, random)
            numbers = map_tensors(like_on_gpu, draws(images, seed).numbers(random.taken))
            found = transform(images.clone(), masks.clone(), Draws.given(numbers))
            same_images = torch.allclose(expected[0], found[0], rtol=0, atol=ROUNDING)
            same = same_images and torch.equal(expected[1], found[1])
            assert same, (
                "where all images are changed, as on a GPU, the result differs: a function for "
                "`where_chosen` must change each image by itself, and not in place"
            )

    def test_probability_0_changes_nothing(self, arguments: Arguments) -> None:
        """With the argument `probability` at 0, images and masks stay as they are."""
        if PROBABILITY not in arguments_of(self.component, self.kind().supplied):
            pytest.skip(f"it has no argument `{PROBABILITY}`")
        transform = self.make({**arguments, PROBABILITY: 0})
        for seed, images, masks in batches(self.hierarchy):
            result = transform(images, masks, draws(images, seed))
            for name, one, other in zip(("images", "masks"), (images, masks), result, strict=True):
                assert torch.equal(one, other), f"with probability 0, it changes the {name}"

    def test_works_on_cuda(self, arguments: Arguments, device: str) -> None:
        """On CUDA it gives valid results, always the same ones, and the masks of the CPU."""
        transform = self.make(arguments)
        for seed, images, masks in batches(self.hierarchy):
            expected = transform(images, masks, draws(images, seed))
            moved = images.to(device), masks.to(device)
            found, again = (transform(*moved, draws(moved[0], seed)) for _ in range(2))
            self.check(found, *moved, self.hierarchy)
            assert all(map(torch.equal, found, again)), "on CUDA the same draws differ"
            assert torch.equal(found[1].cpu(), expected[1]), "on CUDA the masks differ"

    def skip_if_it_mixes(self) -> None:
        """Skip a test that does not hold for transforms that mix the images of a batch."""
        if self.mixes():
            pytest.skip("it mixes the images of a batch, of the same process")


WIDE = Hierarchy.from_tree(
    {"nothing": None, "body": ["left arm", "right arm"]},
    labels={0: "nothing", 255: "left arm", 256: "right arm", 65_534: "body"},
    void=[40_000],
    pairs=[("left arm", "right arm")],
)
"""Labels that need 16 bits, one of them of an inner class."""


def batch(hierarchy: Hierarchy, seed: int, size: Size = SIZE) -> tuple[Tensor, Tensor]:
    """Random images, and masks of blocks of all labels and of void, as training gives them."""
    generator = torch.Generator().manual_seed(seed)
    count, height, width = size
    # Black and white pixels too, beyond which a transform would leave 0..1.
    images = (1.4 * torch.rand(count, 3, height, width, generator=generator) - 0.2).clamp(0, 1)
    values = torch.tensor([*hierarchy.labels, hierarchy.void_value])
    blocks = torch.randint(
        len(values), (count, -(-height // 4), -(-width // 4)), generator=generator
    )
    masks = values[blocks].repeat_interleave(4, 1).repeat_interleave(4, 2)
    dtype = torch.uint8 if values.max() < 256 else torch.int32
    return images, masks[:, :height, :width].to(dtype)


def batches(hierarchy: Hierarchy, size: Size = SIZE) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Seeds, and random images and masks of each."""
    for seed in SEEDS:
        yield seed, *batch(hierarchy, seed, size)


def draws(images: Tensor, seed: int, rank: int = 0, processes: int = 1) -> Draws:
    """The random numbers of a batch."""
    generator = torch.Generator().manual_seed(seed)
    return Draws(generator, len(images) * processes, rank, processes, images.device)


def changed(transform: Transform, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """A transform as a function of tensors: images, masks and random numbers."""
    images, masks, *numbers = inputs
    return transform(images, masks, Draws.given(Numbers(*numbers)))


@contextmanager
def unused_global_randomness() -> Iterator[None]:
    """Assert that a block does not use the global generators of NumPy and PyTorch.

    That of Python may be used by tools that check types at run time.
    """
    before = pickle.dumps(np.random.get_state()), torch.get_rng_state()
    yield
    hint = "take all random numbers from `draws`"
    unused = pickle.dumps(np.random.get_state()) == before[0]
    assert unused, f"it uses the random numbers of NumPy: {hint}"
    assert torch.equal(torch.get_rng_state(), before[1]), (
        f"it uses the global random numbers of PyTorch: {hint}"
    )
