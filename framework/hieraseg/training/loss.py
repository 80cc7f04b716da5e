"""The loss of a recipe."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from hieraseg.contracts import Loss, has_argument
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.recipe.spec import components_in


def build_loss(
    recipe: Recipe, hierarchy: Hierarchy, class_pixels: Callable[[], list[Tensor]]
) -> Loss:
    """Build the loss; training pixels are counted only if it, or a loss inside it, needs them.

    Args:
        recipe: the resolved recipe.
        hierarchy: the class tree.
        class_pixels: counts the pixels of each class: float64 `[C_l]` per level; called only for
            such a loss.

    Raises:
        RecipeError: it refuses an argument, or trains no class scores.
    """
    spec = recipe["loss"]
    supplied: dict[str, Any] = {"hierarchy": hierarchy}
    if any(has_argument(one.factory, "class_pixels") for one in components_in(spec)):
        supplied["class_pixels"] = class_pixels()
    loss: Loss = build(spec, **supplied)
    if loss.levels == "none":
        raise RecipeError(
            f"{spec.places.get('name', 'default')}: loss: {spec.name} trains an embedding but no "
            "class scores; add a loss that trains class scores"
        )
    return loss
