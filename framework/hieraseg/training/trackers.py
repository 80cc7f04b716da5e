"""The trackers of a run: those that its recipe names, each as long as it works."""

import importlib.util
import inspect
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hieraseg.console import warn
from hieraseg.contracts import Tracker
from hieraseg.errors import RecipeError
from hieraseg.recipe import ComponentSpec, Recipe
from hieraseg.recipe.build import build


class Trackers:
    """Passes everything to each tracker. One that fails is left out, after a warning.

    Args:
        specs: what the recipe names.
        folder: the run folder.
        after_step: step from which the run goes on.

    Raises:
        RecipeError: a tracker refuses its arguments.
    """

    def __init__(self, specs: Sequence[ComponentSpec], folder: Path, after_step: int = 0) -> None:
        self._open: list[tuple[str, Tracker]] = []
        for spec in specs:
            try:
                tracker = build(spec, folder=folder, after_step=after_step)
            except RecipeError:
                self.finalize("failed")
                raise
            except (Exception, SystemExit) as error:  # of whatever the tracker calls
                _warn_of(spec.name, error)
            else:
                self._open.append((spec.name, tracker))

    @property
    def take_images(self) -> bool:
        """Whether pictures are of use to any that still works."""
        return any(hasattr(tracker, "log_image") for _, tracker in self._open)

    def log_hyperparams(self, recipe: Recipe) -> None:
        """Log the settings of the run."""
        self._call("log_hyperparams", hyper_parameters(recipe))

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log numbers by name."""
        self._call("log_metrics", metrics, step)

    def log_image(self, key: str, image: UInt8[np.ndarray, "H W 3"], step: int) -> None:
        """Log a picture."""
        self._call("log_image", key, [image], step)

    def finalize(self, status: str) -> None:
        """End; further calls do nothing."""
        self._call("finalize", status)
        self._open = []

    def _call(self, method: str, *arguments: Any) -> None:
        for name, tracker in list(self._open):
            try:
                # Copies, since a tracker may change what it gets, and others get it, too.
                getattr(tracker, method, _nothing)(*map(copy, arguments))
            except NotImplementedError:
                continue  # as some loggers of lightning-fabric do
            except (Exception, SystemExit) as error:  # of whatever the tracker calls
                self._open.remove((name, tracker))
                _warn_of(name, error)


def take_images(specs: Sequence[ComponentSpec]) -> bool:
    """Whether pictures may be of use to a tracker; in all processes alike."""
    return any(
        not inspect.isclass(spec.factory) or hasattr(spec.factory, "log_image") for spec in specs
    )


def check_packages(specs: Sequence[ComponentSpec]) -> None:
    """Check that the packages are installed that trackers need.

    Raises:
        RecipeError: one is missing.
    """
    for index, spec in enumerate(specs):
        for module, package in getattr(spec.factory, "requires", {}).items():
            if importlib.util.find_spec(module) is None:
                place = f"{spec.places['name']}: " if "name" in spec.places else ""
                raise RecipeError(
                    f"{place}trackers[{index}]: {spec.name} needs the package {module}; "
                    f"`pip install '{package}'`, or remove it"
                )


def hyper_parameters(recipe: Recipe) -> dict[str, int | float | str]:
    """The settings of a recipe by dotted key, such as `loss` and `loss.beta`.

    What is no number is written as a string.
    """
    found: dict[str, Any] = {}
    for section, values in recipe.to_dict(plugins=[]).items():
        if isinstance(values, dict):
            named = {f"{section}.{key}": value for key, value in values.items()}
            found |= {key.removesuffix(".name"): value for key, value in named.items()}
        else:
            found[section] = values
    return {k: v if isinstance(v, int | float | str) else str(v) for k, v in found.items()}


def _nothing(*arguments: Any) -> None:
    """In place of a method that a tracker does not have."""


def _warn_of(name: str, error: BaseException) -> None:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    short = shorten(reason, 200) or type(error).__name__
    warn(
        f"tracker {name}: fails ({short}); training goes on without it, "
        "and metrics.jsonl has its numbers"
    )
