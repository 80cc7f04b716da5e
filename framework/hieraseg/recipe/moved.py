"""Keys of earlier versions, and what to write instead of them."""

from typing import Any

from hieraseg.recipe.reading import Entry, Layer

_ARGUMENTS = {
    "photometric": "{name: photometric, probability: 0.5}",
    "brightness": "{name: photometric, brightness: 0.2}",
    "contrast": "{name: photometric, contrast: 0.2}",
    "saturation": "{name: photometric, saturation: 0.2}",
    "hue": "{name: photometric, hue: 0.05}",
    "noise": "{name: photometric, noise: 0.05}",
    "blur": "{name: blur, probability: 0.5}",
    "blur_sigma": "{name: blur, sigma: [0.1, 1.5]}",
}
_MOVED = {
    ("logging", "checkpoints"): "is a section now, as in `checkpoints: {every: null}` for none",
    ("logging", "tensorboard"): "is the section `trackers` now, as in `trackers: []` for none",
    ("data", "size"): "is input.size now, as in `input: {size: [224, 224]}`",
    **{
        ("augmentation", key): f"belongs to a transform now, as in `transforms: [{example}]`"
        for key, example in _ARGUMENTS.items()
    },
}


_WITHOUT_EFFECT = {("logging", "checkpoints"): True}
"""Values that recipes of older runs have, and that say what is so without them."""


def has_no_effect(section: str, key: str, value: Any) -> bool:
    """Whether a key that a section no longer has may stay, because its value changes nothing."""
    return (section, key) in _WITHOUT_EFFECT and value is _WITHOUT_EFFECT[section, key]


def as_written_now(layer: Layer) -> Layer:
    """The sections of an older run's recipe, in which `logging` said whether it has TensorBoard."""
    logging = layer.get("logging")
    if logging is None or not isinstance(logging.value, dict):
        return layer
    others = {key: entry for key, entry in logging.value.items() if key != "tensorboard"}
    written = logging.value.get("tensorboard")
    if written is None or "trackers" in layer:
        return layer
    trackers = {} if written.value else {"trackers": Entry([], written.place)}
    return {**layer, "logging": Entry(others, logging.place), **trackers}


def moved(section: str, key: str) -> str:
    """What became of a key that a section, or a component of its kind, no longer has.

    Returns:
        An empty string if it never had it.
    """
    return _MOVED.get((section, key), "")


def rewritten(section: str, key: str, value: Any) -> str:
    """How to write a value that has another type than in earlier versions; else empty."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if (section, key) == ("augmentation", "scale") and is_number and 0 <= value < 1:
        return f"; a change by up to {value:g} is [{1 - value:g}, {1 + value:g}] now"
    return ""
