"""Contract suites: tests that check a plugin against the contract of its kind.

    from hieraseg.testing import LossContract
    from my_loss import MyLoss

    class TestMyLoss(LossContract):
        component = MyLoss
        settings = ({}, {"gamma": 2.0})

pytest checks every property that a run relies on, once for each of the settings. `component` is a
class or function and need not be registered. `settings` are arguments as in a recipe, by default
the component's own defaults. The docstring of each suite lists its other attributes.

A plugin that cannot have a property overrides its test and gives the reason:

    def test_order_of_leaves_does_not_matter(self) -> None:
        pytest.skip("its cost table is in the order of the labels")
"""

from hieraseg.testing.backbones import BackboneContract
from hieraseg.testing.component import ComponentContract, TreeContract
from hieraseg.testing.datasets import DatasetContract
from hieraseg.testing.decoders import DecoderContract
from hieraseg.testing.hierarchies import HierarchyContract
from hieraseg.testing.inference import InferenceContract
from hieraseg.testing.losses import LossContract
from hieraseg.testing.models import ModelContract
from hieraseg.testing.optimizers import OptimizerContract
from hieraseg.testing.schedules import ScheduleContract
from hieraseg.testing.trackers import TrackerContract
from hieraseg.testing.transforms import TransformContract

__all__ = [
    "BackboneContract",
    "ComponentContract",
    "DatasetContract",
    "DecoderContract",
    "HierarchyContract",
    "InferenceContract",
    "LossContract",
    "ModelContract",
    "OptimizerContract",
    "ScheduleContract",
    "TrackerContract",
    "TransformContract",
    "TreeContract",
]
