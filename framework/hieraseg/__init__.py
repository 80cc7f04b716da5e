"""hieraseg: a plugin-based research framework for hierarchical semantic segmentation.

Importing this package does not import torch: `hieraseg --help` and `hieraseg list` stay quick.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Hierarchy": "hieraseg.hierarchy",
    "IGNORE_INDEX": "hieraseg.hierarchy",
    "Loss": "hieraseg.contracts",
    "Prediction": "hieraseg.contracts",
}
__all__ = ["IGNORE_INDEX", "Hierarchy", "Loss", "Prediction", "__version__"]


def __getattr__(attribute: str) -> Any:
    if attribute not in _HOMES:
        raise AttributeError(f"module 'hieraseg' has no attribute {attribute!r}")
    return getattr(import_module(_HOMES[attribute]), attribute)
