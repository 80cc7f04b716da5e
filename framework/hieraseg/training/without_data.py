"""What is checked of a recipe before its data is read, which can take long."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from hieraseg.data.label_names import naming_problem
from hieraseg.errors import HierasegError, RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe import Recipe
from hieraseg.recipe.arguments import arguments_of
from hieraseg.recipe.build import build, build_transforms
from hieraseg.recipe.conflicts import without_effect
from hieraseg.registry import find_registry
from hieraseg.settings import Training
from hieraseg.training.intervals import read_interval
from hieraseg.training.loss import build_loss
from hieraseg.training.monitor import check_monitor
from hieraseg.types import durations_in


def check_without_data(recipe: Recipe) -> None:
    """Build what needs neither data nor weights, and find settings that cannot be meant.

    Raises:
        RecipeError: all problems, one per line.
        DataError: the class tree cannot be read.
    """
    problems = [*without_effect(recipe), *_late_moments(recipe)]
    hierarchy = _attempt(lambda: build(recipe["hierarchy"]), problems)
    if isinstance(hierarchy, Hierarchy):
        _attempt(lambda: _check_label_names(recipe, hierarchy), problems)
        _attempt(lambda: build_transforms(recipe, hierarchy), problems)
        _attempt(lambda: build(recipe["inference"], hierarchy=hierarchy), problems)
        # The numbers of pixels are not known; any of them tells whether the arguments fit.
        pixels = [torch.ones(size, dtype=torch.float64) for size in hierarchy.num_classes]
        _attempt(lambda: build_loss(recipe, hierarchy, lambda: pixels), problems)
        _attempt(lambda: check_monitor(recipe, hierarchy), problems)
    if problems:
        raise RecipeError("\n".join(problems))


def _attempt(make: Callable[[], Any], problems: list[str]) -> Any:
    """What a function returns; None, and another problem, if it raises RecipeError."""
    try:
        return make()
    except RecipeError as error:
        problems += str(error).splitlines()
    except HierasegError:
        raise
    except Exception:  # of a component's code, which a run reports with its place
        pass
    return None


def _check_label_names(recipe: Recipe, hierarchy: Hierarchy) -> None:
    """Check the names of labels that the class of the data set has before it is built.

    Raises:
        RecipeError: the hierarchy has one of them for another label.
    """
    names = getattr(recipe["data"].factory, "label_names", None)
    problem = naming_problem(names, hierarchy) if isinstance(names, Mapping) else None
    if problem:
        raise RecipeError(f"{recipe.origin['data.name']}: data: {problem}")


def _late_moments(recipe: Recipe) -> Iterator[str]:
    """A problem for each argument with a duration that is longer than the training."""
    for spec in recipe.specs():
        arguments = arguments_of(spec.factory, find_registry(spec.section).kind.supplied)
        for key, argument in arguments.items():
            for duration in durations_in(spec.arguments[key], argument.type):
                limit = _exceeded(duration, recipe.training)
                if limit:
                    yield (
                        f"{spec.places.get(key, 'default')}: {spec.section}.{key}: {duration} is "
                        f"longer than the training, {limit}; lower it, or train for longer"
                    )


def _exceeded(duration: str, training: Training) -> str:
    """The setting that ends training before a duration does, as far as this is known."""
    number, unit = read_interval(duration)
    if unit == "epoch" and number > training.epochs:
        return f"whose training.epochs is {training.epochs}"
    if unit == "step" and number > (training.max_steps or number):
        return f"whose training.max_steps is {training.max_steps}"
    return ""
