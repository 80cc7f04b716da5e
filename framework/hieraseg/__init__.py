"""hieraseg: a plugin-based research framework for hierarchical semantic segmentation.

Importing this package does not import torch, so that `hieraseg --help` and `hieraseg list` are
fast. The contracts below are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hieraseg.paths import data_folder

if TYPE_CHECKING:
    from hieraseg.contracts import (
        Activation,
        Backbone,
        Dataset,
        Decoder,
        InferenceRule,
        Loss,
        OptimizerFactory,
        Prediction,
        ScheduleFactory,
    )
    from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy

__version__ = "0.1.0"
__all__ = [
    "IGNORE_INDEX",
    "Activation",
    "Backbone",
    "Dataset",
    "Decoder",
    "Hierarchy",
    "InferenceRule",
    "Loss",
    "OptimizerFactory",
    "Prediction",
    "ScheduleFactory",
    "__version__",
    "data_folder",
]


def __getattr__(attribute: str) -> Any:
    if attribute not in __all__:
        raise AttributeError(f"module 'hieraseg' has no attribute {attribute!r}")
    is_of_tree = attribute in ("Hierarchy", "IGNORE_INDEX")
    module = import_module("hieraseg.hierarchy" if is_of_tree else "hieraseg.contracts")
    return getattr(module, attribute)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
