"""Scores from pixel counts against torchmetrics, scikit-learn and loops over pixels."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from sklearn.metrics import f1_score, recall_score
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.metrics import PixelCounts, summarize
from hieraseg.testing.cases import forget_below, random_targets
from tests.support.scores import approximately, mean_of, random_case
from tests.support.tensors import Watch
from tests.support.trees import SEEDS, Tree, ancestors_of, cuda, leaf_paths, nested_trees

FLAT = Hierarchy.from_tree(["background", "a", "b"], background="background")


def counts_of(
    hierarchy: Hierarchy, predicted: Tensor, targets: Tensor, device: str = "cpu"
) -> dict[str, np.ndarray]:
    """The counts of a batch, one row per image."""
    counts = PixelCounts(hierarchy, len(targets), torch.device(device))
    rows = torch.arange(len(targets), device=device)
    counts.add(rows, predicted.to(device), targets.to(device))
    return counts.arrays()


def scores_of(hierarchy: Hierarchy, predicted: Tensor, targets: Tensor) -> dict[str, Any]:
    return summarize(counts_of(hierarchy, predicted, targets), hierarchy)


def flat(values: list[list[int]]) -> Tensor:
    """Images of one row of pixels, on one level."""
    return torch.tensor(values)[:, None, None]


def in_both_and_each(target: Tensor, predicted: Tensor, index: int) -> tuple[int, int, int]:
    """Pixels of a class in both, in the target and in the prediction, where the target is known."""
    both = in_target = in_predicted = 0
    for t, p in zip(target.flatten().tolist(), predicted.flatten().tolist(), strict=True):
        if t != IGNORE_INDEX:
            both += t == index and p == index
            in_target += t == index
            in_predicted += p == index
    return both, in_target, in_predicted


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def iou_by_loop(target: Tensor, predicted: Tensor, index: int) -> float | None:
    """IoU of one class; None if it is in neither."""
    both, in_target, in_predicted = in_both_and_each(target, predicted, index)
    return ratio(both, in_target + in_predicted - both)


# Random trees against loops over pixels.


@given(nested_trees(), SEEDS)
def test_scores_of_levels_by_loops(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    levels = scores_of(case.hierarchy, case.predicted, case.targets)["levels"]
    for level, names in enumerate(case.hierarchy.level_names):
        target, predicted = case.targets[:, level], case.predicted[:, level]
        foreground = [name for name in names if name != case.hierarchy.background]
        counts = {name: in_both_and_each(target, predicted, i) for i, name in enumerate(names)}
        iou = {name: ratio(b, t + p - b) for name, (b, t, p) in counts.items()}
        accuracy = {name: ratio(b, t) for name, (b, t, _) in counts.items()}
        dice = {name: ratio(2 * b, t + p) for name, (b, t, p) in counts.items()}
        per_image = [
            iou_by_loop(target[image], predicted[image], names.index(name))
            for image in range(len(target))
            for name in foreground
        ]
        known = sum(t for _, t, _ in counts.values())
        weighted = sum(t * (iou[name] or 0) for name, (_, t, _) in counts.items())
        expected = {
            "miou": mean_of([iou[name] for name in foreground]),
            "miou_with_background": mean_of(list(iou.values())),
            "miou_per_image": mean_of(per_image),
            "mean_accuracy": mean_of([accuracy[name] for name in foreground]),
            "pixel_accuracy": ratio(sum(b for b, _, _ in counts.values()), known),
            "mean_dice": mean_of([dice[name] for name in foreground]),
            "frequency_weighted_iou": ratio(weighted, known),
        }
        of_classes = {"iou": iou, "accuracy": accuracy, "dice": dice}
        assert levels[level] == {
            "level": level + 1,
            **{key: approximately(value) for key, value in expected.items()},
            **{
                key: {name: approximately(value) for name, value in values.items()}
                for key, values in of_classes.items()
            },
        }


@given(nested_trees(), SEEDS)
def test_coherence_and_mistake_distance_by_loops(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    scores = scores_of(case.hierarchy, case.predicted, case.targets)
    names, paths = case.hierarchy.level_names, leaf_paths(case.tree)
    ancestors, last = ancestors_of(case.tree), len(names) - 1
    coherent, distances = [], []
    images, _, height, width = case.targets.shape
    for image, y, x in np.ndindex(images, height, width):
        target = case.targets[image, :, y, x].tolist()
        predicted = case.predicted[image, :, y, x].tolist()
        if target[0] != IGNORE_INDEX:
            coherent.append(tuple(names[i][index] for i, index in enumerate(predicted)) in paths)
        if target[last] not in (IGNORE_INDEX, predicted[last]):
            # Leaves have the same depth: from each up to their lowest common ancestor.
            shared = ancestors[last, names[last][target[last]]]
            shared = shared & ancestors[last, names[last][predicted[last]]]
            distances.append(2 * (len(names) - len(shared)))
    assert scores["coherence"] == approximately(mean_of([float(value) for value in coherent]))
    assert scores["mistake_distance"] == approximately(mean_of(distances))
    assert scores["images"] == images


@given(nested_trees(), SEEDS)
def test_agrees_with_torchmetrics(tree: Tree, seed: int) -> None:
    # Not at the top, since each process that collects tests would take seconds to import it.
    from torchmetrics.classification import (
        MulticlassF1Score,
        MulticlassJaccardIndex,
        MulticlassRecall,
    )

    case = random_case(tree, seed)
    levels = scores_of(case.hierarchy, case.predicted, case.targets)["levels"]
    for level, classes in enumerate(case.hierarchy.num_classes):
        target, predicted = case.targets[:, level], case.predicted[:, level]
        if classes < 2 or target.eq(IGNORE_INDEX).all():
            continue  # torchmetrics needs two classes and a pixel to score
        ours = levels[level]
        options = {"num_classes": classes, "ignore_index": IGNORE_INDEX}
        theirs = MulticlassJaccardIndex(average="macro", **options)(predicted, target)
        assert ours["miou_with_background"] == pytest.approx(theirs.item(), abs=1e-6)
        theirs = MulticlassRecall(average="micro", **options)(predicted, target)
        assert ours["pixel_accuracy"] == pytest.approx(theirs.item(), abs=1e-6)
        theirs = MulticlassJaccardIndex(average="weighted", **options)(predicted, target)
        assert ours["frequency_weighted_iou"] == pytest.approx(theirs.item(), abs=1e-6)
        for key, metric in (
            ("iou", MulticlassJaccardIndex(average="none", **options)),
            ("accuracy", MulticlassRecall(average="none", **options)),
            ("dice", MulticlassF1Score(average="none", **options)),
        ):
            theirs = metric(predicted, target).tolist()
            known = {k: v for k, v in enumerate(ours[key].values()) if v is not None}
            assert known == {k: pytest.approx(theirs[k], abs=1e-6) for k in known}


@given(nested_trees(), SEEDS)
def test_agrees_with_scikit_learn(tree: Tree, seed: int) -> None:
    """Absent classes included: scikit-learn returns NaN for them, and we None."""
    case = random_case(tree, seed)
    levels = scores_of(case.hierarchy, case.predicted, case.targets)["levels"]
    for level, classes in enumerate(case.hierarchy.num_classes):
        known = case.targets[:, level] != IGNORE_INDEX
        target, predicted = case.targets[:, level][known], case.predicted[:, level][known]
        if not len(target):
            continue
        options = {"labels": range(classes), "average": None, "zero_division": np.nan}
        for key, score in (("accuracy", recall_score), ("dice", f1_score)):
            ours = [np.nan if value is None else value for value in levels[level][key].values()]
            np.testing.assert_allclose(ours, score(target, predicted, **options))


# Small examples by hand.


def test_a_class_with_zero_intersection_counts_zero() -> None:
    # a: 2 of 3 pixels, b: 2 of 3, c: 0 of 2. Dropping c would report 66.7 %.
    hierarchy = Hierarchy.from_tree(["a", "b", "c"])
    scores = scores_of(hierarchy, flat([[0, 0, 1, 1, 0, 1]]), flat([[0, 0, 1, 1, 2, 2]]))
    assert scores["levels"][0]["iou"] == pytest.approx({"a": 2 / 3, "b": 2 / 3, "c": 0})
    assert scores["levels"][0]["miou"] == pytest.approx(4 / 9)


def test_a_class_that_is_only_predicted_counts_zero_and_an_absent_one_does_not_count() -> None:
    only_predicted = scores_of(FLAT, flat([[0, 1, 2, 0]]), flat([[0, 1, 1, 0]]))["levels"][0]
    assert only_predicted["iou"] == {"background": 1, "a": 0.5, "b": 0}
    assert only_predicted["miou"] == pytest.approx(1 / 4)
    assert only_predicted["miou_with_background"] == pytest.approx(1 / 2)
    absent = scores_of(FLAT, flat([[0, 1, 1, 0]]), flat([[0, 1, 1, 0]]))["levels"][0]
    assert absent["iou"] == {"background": 1, "a": 1, "b": None}
    assert absent["miou"] == absent["miou_with_background"] == 1


def test_predictions_on_void_do_not_count() -> None:
    scores = scores_of(FLAT, flat([[1, 2, 2]]), flat([[1, -100, -100]]))
    assert scores["levels"][0]["iou"] == {"background": None, "a": 1, "b": None}
    assert scores["mistake_distance"] is None


def test_the_mean_per_image_differs() -> None:
    # Image 1: a 1 of 1. Image 2: a 0 of 3. Data set: a 1 of 4; per image: (1 + 0) / 2.
    scores = scores_of(FLAT, flat([[1, 0, 0], [0, 0, 0]]), flat([[1, 0, 0], [1, 1, 1]]))
    assert scores["levels"][0]["miou"] == pytest.approx(1 / 4)
    assert scores["levels"][0]["miou_per_image"] == pytest.approx(1 / 2)


def test_a_target_of_background_only_has_no_score_without_background() -> None:
    scores = scores_of(FLAT, flat([[0, 0]]), flat([[0, 0]]))["levels"][0]
    assert (scores["miou"], scores["miou_per_image"]) == (None, None)
    assert scores["miou_with_background"] == 1


def test_coherence_and_distance_by_hand() -> None:
    # Levels: x, y | a, b (of x), c (of y).
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c"]})
    target = [[0, 0, 0, 1, -100], [0, 0, -100, 2, -100]]
    predicted = [[0, 1, 1, 0, 0], [1, 2, 0, 0, 2]]
    scores = scores_of(
        hierarchy, torch.tensor(predicted)[None, :, None], torch.tensor(target)[None, :, None]
    )
    # Coherent: the first, second and fourth of four known pixels; (y, a) is not.
    assert scores["coherence"] == pytest.approx(3 / 4)
    # Errors: a for b is 2 edges, a for c and c for a are 4; the leaf of the third is unknown.
    assert scores["mistake_distance"] == pytest.approx(10 / 3)


@pytest.mark.parametrize("images", [0, 2])
def test_undefined_scores_are_none_and_not_nan(images: int) -> None:
    hierarchy = Hierarchy.from_tree({"background": None, "x": ["a", "b"]}, background="background")
    size = (images, 2, 3, 3)
    scores = scores_of(
        hierarchy, torch.ones(size, dtype=torch.int64), torch.full(size, IGNORE_INDEX)
    )
    for level, names in enumerate(hierarchy.level_names, 1):
        of_classes = dict.fromkeys(names)
        assert scores["levels"][level - 1] == {
            **dict.fromkeys(scores["levels"][level - 1]),
            "level": level,
            "iou": of_classes,
            "accuracy": of_classes,
            "dice": of_classes,
        }
    assert scores["coherence"] is None
    assert scores["mistake_distance"] is None
    assert scores["images"] == images


# Streaming.


@given(nested_trees(), SEEDS)
def test_counts_of_shards_add_up(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    whole = counts_of(case.hierarchy, case.predicted, case.targets)
    images = len(case.targets)
    mine = torch.randint(2, (images,), generator=torch.Generator().manual_seed(seed)).bool()
    shards = []
    for rows in (mine.nonzero()[:, 0], (~mine).nonzero()[:, 0]):
        shard = PixelCounts(case.hierarchy, images, torch.device("cpu"))
        for row in rows.flip(0):  # one by one, in another order
            shard.add(row[None], case.predicted[row][None], case.targets[row][None])
        shards.append(shard.arrays())
    for key, counts in whole.items():
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(shards[0][key] + shards[1][key], counts)


def test_images_can_share_a_row() -> None:
    predicted, targets = flat([[0, 1], [1, 2]]), flat([[0, 1], [0, 2]])
    counts = PixelCounts(FLAT, 1, torch.device("cpu"))
    counts.add(torch.tensor([0, 0]), predicted, targets)
    whole = counts_of(FLAT, predicted, targets)
    for key, value in counts.arrays().items():
        np.testing.assert_array_equal(value[0], whole[key].sum(0))


@given(nested_trees(), SEEDS)
def test_inputs_are_not_modified(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    predicted, targets = case.predicted.clone(), case.targets.clone()
    counts = counts_of(case.hierarchy, case.predicted, case.targets)
    kept = {key: value.copy() for key, value in counts.items()}
    summarize(counts, case.hierarchy)
    assert torch.equal(predicted, case.predicted)
    assert torch.equal(targets, case.targets)
    for key, value in kept.items():
        np.testing.assert_array_equal(value, counts[key])


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=cuda)])
def test_counts_on_cuda_equal_those_on_the_cpu(device: str) -> None:
    hierarchy = Hierarchy.from_tree({"background": None, "x": ["a", "b"], "y": {"c": ["d", "e"]}})
    generator = torch.Generator().manual_seed(0)
    size = (3, 40, 50)
    predicted = random_targets(hierarchy, size, generator)
    targets = forget_below(random_targets(hierarchy, size, generator), generator)
    cpu = counts_of(hierarchy, predicted, targets)
    for key, counts in counts_of(hierarchy, predicted, targets, device).items():
        np.testing.assert_array_equal(counts, cpu[key])


def test_memory_is_linear_in_the_classes() -> None:
    hierarchy = Hierarchy.from_tree({f"{i}": [f"{i}.{j}" for j in range(100)] for i in range(20)})
    predicted = hierarchy.paths[:200].T.reshape(1, 2, 10, 20)
    with Watch() as seen:
        counts_of(hierarchy, predicted, predicted)
    assert seen.largest <= hierarchy.num_levels * sum(hierarchy.num_classes)
