"""The recipe sections that configure the framework itself; all others name components."""

from importlib import import_module

SECTIONS = {
    "input": "Input",
    "augmentation": "Augmentation",
    "auxiliary": "Auxiliary",
    "init": "Init",
    "training": "Training",
    "validation": "Validation",
    "evaluation": "Evaluation",
    "checkpoints": "Checkpoints",
    "logging": "Logging",
}
"""Sections in the order in which they are printed, and their classes in `hieraseg.settings`."""


def settings_classes() -> dict[str, type]:
    """The class of each section. Imports torch, which commands that only list do not wait for."""
    settings = import_module("hieraseg.settings")
    return {section: getattr(settings, name) for section, name in SECTIONS.items()}
