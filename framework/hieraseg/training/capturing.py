"""What keeps a training step from being captured in a CUDA graph or compiled whole."""

from hieraseg.contracts import why_not_capturable
from hieraseg.recipe import Recipe


def capture_problems(recipe: Recipe) -> list[str]:
    """Components that say of themselves that they cannot be captured (see `contracts`).

    Args:
        recipe: the resolved recipe; components inside others count too.

    Returns:
        One phrase each, as in `the loss my_loss is not capturable (sorts on the host)`.
    """
    phrases = {
        f"the {spec.section} {spec.name} is not capturable ({reason})"
        for spec in recipe.specs()
        if (reason := why_not_capturable(spec.factory)) is not None
    }
    return sorted(phrases)
