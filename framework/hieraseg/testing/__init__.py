"""Contract suites: tests that a plugin's author subclasses in a few lines, one suite per kind.

    from hieraseg.testing import LossContract
    from my_loss import MyLoss

    class TestMyLoss(LossContract):
        component = MyLoss
        settings = ({}, {"gamma": 2.0})

pytest then checks all that the runner counts on, for each of the settings. `component` is a class
or a function, registered or not; `settings` are arguments as they would stand in a recipe, the
defaults if they are left out. The other attributes of a suite are said in its docstring.

A plugin that cannot have one of the properties overrides its test, and says why:

    def test_the_order_of_leaves_does_not_matter(self) -> None:
        pytest.skip("its table of costs stands in the order of the labels")
"""

from hieraseg.testing.backbones import BackboneContract
from hieraseg.testing.component import ComponentContract, TreeContract
from hieraseg.testing.datasets import DatasetContract
from hieraseg.testing.decoders import DecoderContract
from hieraseg.testing.hierarchies import HierarchyContract
from hieraseg.testing.inference import InferenceContract
from hieraseg.testing.losses import LossContract
from hieraseg.testing.optimizers import OptimizerContract
from hieraseg.testing.schedules import ScheduleContract

__all__ = [
    "BackboneContract",
    "ComponentContract",
    "DatasetContract",
    "DecoderContract",
    "HierarchyContract",
    "InferenceContract",
    "LossContract",
    "OptimizerContract",
    "ScheduleContract",
    "TreeContract",
]
