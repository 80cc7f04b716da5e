"""Contract tests of every shipped component (see `hieraseg.testing`)."""

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tests.support.timm_models  # noqa: F401 (registers tiny models)
from hieraseg import registry
from hieraseg.testing import (
    BackboneContract,
    ComponentContract,
    DatasetContract,
    DecoderContract,
    HierarchyContract,
    InferenceContract,
    LossContract,
    ModelContract,
    OptimizerContract,
    ScheduleContract,
    TrackerContract,
    TransformContract,
)
from tests.plugins.decoders import test_smp_contracts
from tests.plugins.trackers import test_mlflow_run, test_wandb_run
from tests.support.pascal_part import write_pascal_folder

HERE = Path(__file__)
COMPILE = "test_compiled_matches_eager"
MANNEQUINS = {
    "name": "mannequins",
    "image_size": [32, 32],
    "train_images": 3,
    "val_images": 2,
    "holdout_images": 2,
}
PARTS = ("background", "low_hand", "torso", "low_leg", "head", "up_leg", "up_hand")


@pytest.fixture(autouse=True)
def compiled_elsewhere(request: pytest.FixtureRequest) -> None:
    """torch.compile would also trace the shape checks of each function, which takes minutes."""
    if request.node.originalname == COMPILE and "tests.support.shapes" in sys.modules:
        pytest.skip("checked by test_compiled_components")


@pytest.mark.slow
def test_compiled_components() -> None:
    """Run the suites' tests of torch.compile in a process without shape checks."""
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-k", COMPILE, str(HERE)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


# Losses. Lists of weights fit the suite's main tree, which has three levels.


class ShippedLoss(LossContract):
    """A perfect prediction has a loss of zero."""

    least = 0.0
    margin = 0.5


class TestBCE(ShippedLoss):
    component = registry.losses.get("bce")
    settings = ({}, {"level_weights": [0.1, 0.4, 1.0]})


class TestDice(ShippedLoss):
    component = registry.losses.get("dice")


class TestFocal(ShippedLoss):
    component = registry.losses.get("focal")


class TestHSSN(ShippedLoss):
    component = registry.losses.get("hssn")
    least = None  # region mutual information is negative, and the embedding is random


class TestHXE(ShippedLoss):
    component = registry.losses.get("hxe")
    settings = ({}, {"alpha": 0.0})


class TestHyperbolic(ShippedLoss):
    component = registry.losses.get("hyperbolic")


class TestLevelConsistency(ShippedLoss):
    component = registry.losses.get("level_consistency")
    settings = ({}, {"gamma": 0.5})


class TestLogicRules(ShippedLoss):
    component = registry.losses.get("logic_rules")


class TestLovasz(ShippedLoss):
    component = registry.losses.get("lovasz")


class TestMarginalCE(ShippedLoss):
    component = registry.losses.get("marginal_ce")
    settings = ({}, {"level_weights": [0.0, 0.0, 1.0]})


class TestSmoothMarginalCE(LossContract):
    component = registry.losses.get("marginal_ce")
    settings = ({"label_smoothing": 0.1},)
    margin = 0.5


class TestMaxConstraint(ShippedLoss):
    component = registry.losses.get("max_constraint")


class TestOHEM(ShippedLoss):
    component = registry.losses.get("ohem")
    settings = (
        {"loss": "weighted_ce"},
        {"loss": "tree_min", "threshold": 0.2, "min_kept": 0.01},
        {"loss": {"name": "sum", "losses": ["marginal_ce", "soft_labels"]}, "threshold": 0.0},
    )
    least = None  # of soft labels


class TestRMI(ShippedLoss):
    component = registry.losses.get("rmi")
    least = None  # the log of the conditional variance, which is negative


class TestSoftLabels(ShippedLoss):
    component = registry.losses.get("soft_labels")
    least = None  # the entropy of the soft labels


class TestSum(ShippedLoss):
    component = registry.losses.get("sum")
    settings = (
        {"losses": ["weighted_ce", "marginal_ce"]},
        {"losses": ["tree_min", {"name": "rmi", "stride": 1}], "ramps": [[0, 0], [0.2, 0.6]]},
    )
    least = None  # with RMI in it


class TestTreeMin(ShippedLoss):
    component = registry.losses.get("tree_min")
    settings = ({}, {"gamma": 2.0}, {"gamma": 0.5})


class TestTreeTriplet(ShippedLoss):
    component = registry.losses.get("tree_triplet")


class TestTversky(ShippedLoss):
    component = registry.losses.get("tversky")


class TestWeightedCE(ShippedLoss):
    component = registry.losses.get("weighted_ce")
    settings = ({}, {"class_weights": "median_frequency", "level_weights": [0.1, 0.4, 1.0]})


class TestSmoothWeightedCE(LossContract):
    component = registry.losses.get("weighted_ce")
    settings = ({"label_smoothing": 0.1, "class_weights": "median_frequency"},)
    margin = 0.5


# Backbones, decoders and models.


class TestEfficientNetLite(BackboneContract):
    component = registry.backbones.get("efficientnet_lite")


class TestResNet50(BackboneContract):
    component = registry.backbones.get("resnet50")


class TestTimm(BackboneContract):
    """A transformer with patches of 14 pixels, one with windows, and a convolutional network."""

    component = registry.backbones.get("timm")
    settings = (
        {"model": "tiny_vit14", "checkpointing": True},
        {"model": "tiny_swin", "drop_path": 0.1},
        {"model": "test_convnext"},
    )


# Those of decoders over segmentation_models_pytorch are in decoders/test_smp_contracts.py.


class TestHyperbolicDecoder(DecoderContract):
    component = registry.decoders.get("hyperbolic")
    settings = ({"width": 8, "dimensions": 6}, {"width": 8, "dimensions": 2, "curvature": 0.5})


class TestLinear(DecoderContract):
    component = registry.decoders.get("linear")


class TestSkip(DecoderContract):
    component = registry.decoders.get("skip")
    settings = ({"width": 8},)


class TestCoarseToFine(ModelContract):
    component = registry.models.get("coarse_to_fine")
    settings = ({"backbone": {"name": "timm", "model": "test_resnet"}, "width": 8},)


# Hierarchies and data sets.


class TestADE20K(HierarchyContract):
    component = registry.hierarchies.get("ade20k")


class TestCityscapes(HierarchyContract):
    component = registry.hierarchies.get("cityscapes")


class TestCOCOStuff(HierarchyContract):
    component = registry.hierarchies.get("coco_stuff")


class TestFile(HierarchyContract):
    component = registry.hierarchies.get("file")

    @pytest.fixture(autouse=True)
    def written(self, tmp_path: Path) -> None:
        self.path = tmp_path / "tree.yaml"
        self.path.write_text("tree: {sky: null, body: {arms: [left, right]}}\nvoid: [255]\n")

    def build(self, arguments: Any = {}, **supplied: Any) -> Any:  # noqa: B006
        return super().build({"path": str(self.path)}, **supplied)


class TestLIP(HierarchyContract):
    component = registry.hierarchies.get("lip")


class TestMapillaryVistas(HierarchyContract):
    component = registry.hierarchies.get("mapillary_vistas_v2")


class TestCamVid(HierarchyContract):
    component = registry.hierarchies.get("camvid")


class TestPascalPartTree(HierarchyContract):
    component = registry.hierarchies.get("pascal_part")


class TestPascalPart58(HierarchyContract):
    component = registry.hierarchies.get("pascal_part_58")


class TestPascalPart108(HierarchyContract):
    component = registry.hierarchies.get("pascal_part_108")


class TestPascalPersonPart(HierarchyContract):
    component = registry.hierarchies.get("pascal_person_part")


class TestConcat(DatasetContract):
    component = registry.datasets.get("concat")
    settings = (
        {"datasets": [MANNEQUINS, {**MANNEQUINS, "seed": 1}]},
        {"datasets": [MANNEQUINS], "weights": [0.5]},
    )
    hierarchy = registry.hierarchies.get("pascal_part")


class TestFolder(DatasetContract):
    component = registry.datasets.get("folder")
    settings = (
        {"labels": dict(enumerate(PARTS))},
        {"splits": {"train": "train_id.txt", "val": "val_id.txt"}},
        {"splits": {"train": 0.5, "val": 0.3, "holdout": 0.2}, "group": "_(.*).$", "seed": 3},
    )
    hierarchy = registry.hierarchies.get("pascal_part")

    @pytest.fixture(autouse=True)
    def written(self, tmp_path: Path) -> None:
        self.root = write_pascal_folder(tmp_path / "pascal", images=20)

    def build(self, arguments: Any = {}, **supplied: Any) -> Any:  # noqa: B006
        where = {"images": "JPEGImages/{id}.jpg", "masks": "gt_masks/{id}.*"}
        splits = {"splits": {"train": 0.5, "val": 0.5}}
        return super().build({**where, **splits, **arguments, "root": str(self.root)}, **supplied)


class TestMannequins(DatasetContract):
    component = registry.datasets.get("mannequins")
    settings = ({"image_size": [32, 48]},)
    hierarchy = registry.hierarchies.get("pascal_part")


class TestPascalPart(DatasetContract):
    component = registry.datasets.get("pascal_part")
    hierarchy = registry.hierarchies.get("pascal_part")

    @pytest.fixture(autouse=True)
    def written(self, tmp_path: Path) -> None:
        self.root = write_pascal_folder(tmp_path / "pascal")

    def build(self, arguments: Any = {}, **supplied: Any) -> Any:  # noqa: B006
        return super().build({**arguments, "root": str(self.root)}, **supplied)


# Transforms.


class TestBlur(TransformContract):
    component = registry.transforms.get("blur")
    settings = ({}, {"probability": 1, "sigma": [2.0, 3.0]})


class TestClassMix(TransformContract):
    component = registry.transforms.get("classmix")
    settings = ({}, {"probability": 1})


class TestCutout(TransformContract):
    component = registry.transforms.get("cutout")
    settings = ({}, {"probability": 1, "number": [3, 5], "size": [0.9, 1.0], "fill": [0, 1, 0.5]})


class TestNoise(TransformContract):
    component = registry.transforms.get("noise")
    settings = ({}, {"probability": 1, "deviation": [0.5, 2.0]})


class TestPhotometric(TransformContract):
    component = registry.transforms.get("photometric")
    settings = ({}, {"probability": 1, "brightness": 1, "contrast": 1, "hue": 0.5, "noise": 1})


# Inference rules, optimizers and schedules.


class Coherent(InferenceContract):
    """A rule whose predictions are always paths."""

    coherent = True


class TestBestPath(Coherent):
    component = registry.inference.get("best_path")


class TestBottomUp(Coherent):
    component = registry.inference.get("bottom_up")


class TestIndependent(InferenceContract):
    component = registry.inference.get("independent")


class TestMarginal(Coherent):
    component = registry.inference.get("marginal")


class TestTopDown(Coherent):
    component = registry.inference.get("top_down")


class TestAdamW(OptimizerContract):
    component = registry.optimizers.get("adamw")
    settings = (
        {},
        {"weight_decay": 0.0, "betas": [0.8, 0.99], "backbone_lr_multiplier": 0.1},
        {"layer_decay": 0.75, "decay_norms": False},
    )


class TestSGD(OptimizerContract):
    component = registry.optimizers.get("sgd")
    settings = ({}, {"nesterov": True, "backbone_lr_multiplier": 0.1})


class TestTimmOptimizer(OptimizerContract):
    component = registry.optimizers.get("timm")
    settings = (
        {"optimizer": "lion", "lr": 0.01},
        {"optimizer": "adan", "lr": 0.01, "layer_decay": 0.5, "decay_norms": False},
        {"optimizer": "nadamw", "lr": 0.01, "betas": [0.8, 0.9], "eps": 1e-6},
    )


class TestConstant(ScheduleContract):
    component = registry.schedules.get("constant")
    settings = ({}, {"warmup": "1 epoch"})


class TestCosine(ScheduleContract):
    component = registry.schedules.get("cosine")
    settings = ({}, {"warmup": 0.2}, {"warmup": 0.9})


class TestCosineRestarts(ScheduleContract):
    component = registry.schedules.get("cosine_restarts")
    settings = ({"period": "3 steps"}, {"period": 0.1, "growth": 2, "warmup": "2 steps"})


class TestMultistep(ScheduleContract):
    component = registry.schedules.get("multistep")
    settings = ({"milestones": [0.6, 0.9]}, {"milestones": ["1 epoch"], "warmup": "2 steps"})


class TestPoly(ScheduleContract):
    component = registry.schedules.get("poly")
    settings = ({}, {"power": 2.0, "warmup": 0.2}, {"warmup": 0.9})


class TestStep(ScheduleContract):
    component = registry.schedules.get("step")
    settings = ({"every": 0.3}, {"every": "1 epoch", "gamma": 0.5, "warmup": "2 steps"})


# Trackers.


class TestCSVFile(TrackerContract):
    component = registry.trackers.get("csv")


class TestTensorBoard(TrackerContract):
    component = registry.trackers.get("tensorboard")


@pytest.mark.parametrize("kind", registry.by_name())
def test_every_shipped_component_has_its_suite(kind: str) -> None:
    checked = [
        suite.component
        for module in (test_smp_contracts, test_mlflow_run, test_wandb_run)
        for suite in [*globals().values(), *vars(module).values()]
        if inspect.isclass(suite) and issubclass(suite, registry.by_name()[kind].kind.load_suite())
        if suite.__name__.startswith("Test")
    ]
    components = registry.by_name()[kind]
    shipped = [
        name for name, origin in components.origins().items() if origin.startswith("hieraseg (")
    ]
    assert shipped
    for name in shipped:
        assert components.get(name) in checked, f"{kind}: {name} has no suite"


def test_every_kind_has_a_suite() -> None:
    """`hieraseg check` needs a suite for each kind."""
    for one in registry.by_name().values():
        assert issubclass(one.kind.load_suite(), ComponentContract)
