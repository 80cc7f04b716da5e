"""hieraseg: a plugin-based research framework for hierarchical semantic segmentation.

Importing this package does not import torch, so that `hieraseg --help` and `hieraseg list` are
fast. All names below are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
        Tracker,
        Transform,
    )
    from hieraseg.data.images import read_color_mask, read_image, read_mask
    from hieraseg.draws import Draws
    from hieraseg.files.paths import data_folder
    from hieraseg.hierarchy import IGNORE_INDEX, VOID, Hierarchy
    from hieraseg.metrics.scores import Scores
    from hieraseg.runs.predictor import Predictor, load
    from hieraseg.runs.segmentation import Segmentation
    from hieraseg.training.components import Components, build

__version__ = "0.1.0"
__all__ = [
    "IGNORE_INDEX",
    "VOID",
    "Activation",
    "Backbone",
    "Components",
    "Dataset",
    "Decoder",
    "Draws",
    "Hierarchy",
    "InferenceRule",
    "Loss",
    "OptimizerFactory",
    "Prediction",
    "Predictor",
    "ScheduleFactory",
    "Scores",
    "Segmentation",
    "Tracker",
    "Transform",
    "__version__",
    "build",
    "data_folder",
    "load",
    "read_color_mask",
    "read_image",
    "read_mask",
]
_MODULES = {
    "Hierarchy": "hieraseg.hierarchy",
    "IGNORE_INDEX": "hieraseg.hierarchy",
    "VOID": "hieraseg.hierarchy",
    "Components": "hieraseg.training.components",
    "Draws": "hieraseg.draws",
    "Predictor": "hieraseg.runs.predictor",
    "Scores": "hieraseg.metrics.scores",
    "Segmentation": "hieraseg.runs.segmentation",
    "build": "hieraseg.training.components",
    "data_folder": "hieraseg.files.paths",
    "load": "hieraseg.runs.predictor",
    "read_color_mask": "hieraseg.data.images",
    "read_image": "hieraseg.data.images",
    "read_mask": "hieraseg.data.images",
}


def __getattr__(attribute: str) -> Any:
    if attribute not in __all__:
        raise AttributeError(f"module 'hieraseg' has no attribute {attribute!r}")
    module = _MODULES.get(attribute, "hieraseg.contracts")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
