"""Settings of a recipe that do not go together, although each of them could be."""

from collections.abc import Iterator

from hieraseg.recipe.reading import DEFAULT, Layer, Problem
from hieraseg.recipe.resolved import Recipe
from hieraseg.registry import datasets, models
from hieraseg.settings import Augmentation, Input

WEIGHTS_AND_REPEATS = (
    "cannot be combined with data.weights, which say how often images are drawn, too; set one of "
    "them to null"
)
"""What is wrong with `training.repeat_threshold` where data sets are joined by weights."""
_SWITCHES = {
    "augmentation.crop": ("augmentation.crop_scale", "augmentation.crop_ratio"),
    "auxiliary.stage": ("auxiliary.channels", "auxiliary.dropout"),
    "evaluation.window": ("evaluation.window_overlap",),
    "init.from": ("init.strict", "init.drop"),
}
"""Keys without which others have no effect, and the others."""


def without_effect(recipe: Recipe) -> Iterator[str]:
    """A sentence for each given key that needs another one, which is not given.

    A recipe that gives both can switch the other one off, as in `window: null`.
    """
    for switch, keys in _SWITCHES.items():
        for key in keys:
            place = recipe.origin[key]
            if recipe.origin[switch] == str(DEFAULT) != place:
                yield f"{place}: {key}: has no effect without {switch}; set it, or remove {key}"


def conflicts(recipe: Recipe, layer: Layer) -> Iterator[Problem]:
    """A problem for each setting that does not go with another one.

    Args:
        recipe: the resolved recipe.
        layer: what is written of it.
    """
    for dotted, text in _conflicts(recipe):
        section, key = dotted.split(".")
        yield Problem(layer[section].value[key].place, dotted, text)


def augmentation_conflicts(settings: Input, augmentation: Augmentation) -> dict[str, str]:
    """What is wrong with each argument of the augmentation that does not go with the input."""
    problems = {}
    if augmentation.crop > 0 and settings.resize != "stretch":
        problems["crop"] = (
            f"needs input.resize: stretch, but it is {settings.resize}, which always takes a crop "
            "of input.size; set it to 0"
        )
    if augmentation.crop_tries > 1 and settings.resize == "stretch":
        problems["crop_tries"] = (
            "has no effect with input.resize: stretch; set it to 1, or set input.resize to "
            "shorter, longer or none"
        )
    return problems


def _conflicts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Dotted key of each setting that is not a default, and what is wrong with it."""
    for key, text in augmentation_conflicts(recipe.input, recipe.augmentation).items():
        yield f"augmentation.{key}", text
    if recipe.auxiliary.stage is not None and models.section in recipe.components:
        text = f"is a stage of the backbone, but the recipe has a {models.section}; remove it"
        yield "auxiliary.stage", text
    data = recipe[datasets.section].arguments
    is_weighted = "datasets" in data and data.get("weights") is not None
    if is_weighted and recipe.training.repeat_threshold is not None:
        yield "training.repeat_threshold", WEIGHTS_AND_REPEATS
