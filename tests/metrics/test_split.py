"""Properties of all counts of a split: shards, batches, void, files, devices."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from sklearn.metrics import confusion_matrix

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.metrics import PixelCounts, SplitCounts, summarize
from hieraseg.runs.folder import RunFolder
from tests.support.scores import Case, random_case
from tests.support.trees import SEEDS, Tree, cuda, nested_trees

TREE: Tree = {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}


def add(counts: SplitCounts, case: Case, rows: torch.Tensor) -> None:
    """Count some images of a case."""
    scores = [score[rows] for score in case.scores]
    counts.add(rows, case.predicted[rows], case.targets[rows], scores)
    counts.boundaries(rows, case.targets.shape[2:]).add(case.predicted[rows], case.targets[rows])


@given(nested_trees(), SEEDS)
def test_counts_of_shards_add_up(tree: Tree, seed: int) -> None:
    """Three shards, mostly uneven or empty, each in batches of its own size and order."""
    case = random_case(tree, seed)
    images = len(case.targets)
    shard_of = torch.randint(3, (images,), generator=torch.Generator().manual_seed(seed))
    total: dict[str, np.ndarray] = {}
    for number in range(3):
        shard = SplitCounts(case.hierarchy, images, torch.device("cpu"))
        mine = (shard_of == number).nonzero()[:, 0]
        for rows in mine.flip(0).split(number + 1):
            add(shard, case, rows)
        for key, counts in shard.arrays().items():
            total[key] = total.get(key, 0) + counts
    whole = case.counts()
    assert total.keys() == whole.keys()
    for key, counts in whole.items():
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(total[key], counts)


@given(nested_trees(), SEEDS)
def test_predictions_and_scores_on_void_do_not_count(tree: Tree, seed: int) -> None:
    """On the level that is void. Only coherence depends on all levels of a known pixel."""
    case = random_case(tree, seed)
    before = case.counts()
    generator = torch.Generator().manual_seed(seed + 1)
    void = case.targets == IGNORE_INDEX
    for level, classes in enumerate(case.hierarchy.num_classes):
        other = torch.randint(classes, void[:, level].shape, generator=generator)
        predicted = case.predicted[:, level]
        case.predicted[:, level] = torch.where(void[:, level], other, predicted)
        case.scores[level] = case.scores[level].masked_fill(void[:, level, None], torch.nan)
    for key, counts in case.counts().items():
        if key != "coherent":
            np.testing.assert_array_equal(counts, before[key])


@given(nested_trees(), SEEDS)
def test_pixel_counts_are_included(tree: Tree, seed: int) -> None:
    """Training and scoring have the same counts and names of scores."""
    case = random_case(tree, seed)
    few = PixelCounts(case.hierarchy, len(case.targets), torch.device("cpu"))
    few.add(torch.arange(len(case.targets)), case.predicted, case.targets)
    all_counts, all_scores = case.counts(), case.summary()
    for key, counts in few.arrays().items():
        np.testing.assert_array_equal(counts, all_counts[key])
    scores = summarize(few.arrays(), case.hierarchy)
    for few_of_level, all_of_level in zip(scores["levels"], all_scores["levels"], strict=True):
        assert few_of_level.items() <= all_of_level.items()
    assert {key: all_scores[key] for key in scores if key != "levels"} == {
        key: scores[key] for key in scores if key != "levels"
    }


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(nested_trees(), SEEDS)
def test_confusion_agrees_with_scikit_learn(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    counts = case.counts()
    for level, classes in enumerate(case.hierarchy.num_classes):
        known = case.targets[:, level] != IGNORE_INDEX
        target, predicted = case.targets[:, level][known], case.predicted[:, level][known]
        expected = np.zeros((classes, classes), np.int64)
        if len(target):
            expected = confusion_matrix(target, predicted, labels=range(classes))
        np.testing.assert_array_equal(counts[f"confusion_{level + 1}"], expected)


def test_inputs_are_not_modified() -> None:
    case = random_case(TREE, 0)
    tensors = [case.predicted, case.targets, *case.scores]
    before = [tensor.clone() for tensor in tensors]
    case.counts()
    for tensor, kept in zip(tensors, before, strict=True):
        assert torch.equal(tensor, kept)


@pytest.mark.parametrize("images", [0, 2])
def test_undefined_scores_are_none_and_not_nan(images: int) -> None:
    case = random_case(TREE, 0)
    case.targets = torch.full((images, 3, 2, 2), IGNORE_INDEX)
    case.predicted = torch.zeros_like(case.targets)
    case.scores = [torch.rand(images, classes, 2, 2) for classes in case.hierarchy.num_classes]
    scores = case.summary()
    for level in scores.pop("levels"):
        del level["level"]
        for value in level.values():
            assert value is None or set(value.values()) == {None}
    assert scores.pop("images") == images
    assert set(scores.values()) == {None}


def test_run_folder_stores_counts_and_scores(tmp_path: Path) -> None:
    """The scores can be computed again from the file of counts, which is read without pickle."""
    case = random_case(TREE, 3)
    counts, scores = case.counts(), case.summary()
    ids = [f"image{index}" for index in range(len(case.targets))]
    folder = RunFolder(tmp_path)
    folder.write_scores("val", scores, counts, ids)
    with np.load(tmp_path / "evaluation/val.npz", allow_pickle=False) as file:
        kept = {key: file[key] for key in file.files}
    assert kept.pop("ids").tolist() == ids
    assert summarize(kept, case.hierarchy) == scores
    assert folder.read_result()["splits"]["val"] == scores


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=cuda)])
def test_counts_on_cuda_equal_those_on_the_cpu(device: str) -> None:
    for seed in range(5):
        case = random_case(TREE, seed, largest=400)
        cpu = case.counts()
        for key, counts in case.counts(device).items():
            np.testing.assert_array_equal(counts, cpu[key])


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=cuda)])
def test_counting_does_not_synchronize(device: str) -> None:
    case = random_case(TREE, 0, largest=400)
    counts = SplitCounts(case.hierarchy, len(case.targets), torch.device(device))
    tensors = [torch.arange(len(case.targets)), case.predicted, case.targets]
    rows, predicted, targets = (tensor.to(device) for tensor in tensors)
    scores = [score.to(device) for score in case.scores]
    torch.cuda.set_sync_debug_mode("error")
    try:
        counts.add(rows, predicted, targets, scores)
        counts.boundaries(rows, case.targets.shape[2:]).add(predicted, targets)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_many_classes() -> None:
    """Correct predictions score 1 with thousands of leaves."""
    tree: Tree = {f"group{g}": {f"leaf{g}-{i}": None for i in range(100)} for g in range(20)}
    hierarchy = Hierarchy.from_tree(tree)
    leaves = torch.arange(2000).view(1, 40, 50)
    targets = hierarchy.paths[leaves].movedim(-1, 1)
    scores = [
        torch.nn.functional.one_hot(targets[:, level], classes).movedim(-1, 1).float()
        for level, classes in enumerate(hierarchy.num_classes)
    ]
    counts = SplitCounts(hierarchy, 1, torch.device("cpu"))
    counts.add(torch.tensor([0]), targets, targets, scores)
    counts.boundaries(torch.tensor([0]), (40, 50)).add(targets, targets)
    found = summarize(counts.arrays(), hierarchy)
    for level in found["levels"]:
        assert (level["miou"], level["mean_boundary_iou"], level["classwise_ece"]) == (1, 1, 0)
    assert found["hierarchical_f1"] == 1
