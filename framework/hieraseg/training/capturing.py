"""What keeps a training step from being captured in a CUDA graph or compiled whole."""

from torch import nn
from torch.optim import Optimizer

from hieraseg.contracts import why_not_capturable
from hieraseg.recipe import Recipe


def capture_problems(recipe: Recipe, model: nn.Module) -> list[str]:
    """What keeps a step from being captured, or compiled whole.

    These are components that say of themselves that they cannot be captured (see `contracts`), and
    `16-mixed`, whose gradient scaler skips steps on the host.

    Args:
        recipe: the resolved recipe; components inside others count too.
        model: the model, whose parts may say so themselves, if it depends on their arguments.

    Returns:
        One phrase each, as in `the loss my_loss is not capturable (sorts on the host)`.
    """
    phrases = {
        f"the {spec.section} {spec.name} is not capturable ({reason})"
        for spec in recipe.specs()
        if (reason := why_not_capturable(spec.factory)) is not None
    }
    phrases |= {
        f"the {name} is not capturable ({why_not_capturable(part)})"
        for name, part in model.named_children()
        if not vars(part).get("capturable", True)
    }
    if recipe.training.precision == "16-mixed":
        phrases.add("training.precision 16-mixed is not capturable (it skips steps on the host)")
    return sorted(phrases)


def optimizer_problems(recipe: Recipe, optimizer: Optimizer) -> list[str]:
    """What keeps a step with this optimizer of a recipe from being captured, where it says so."""
    reason = why_not_capturable(optimizer)
    name = recipe["optimizer"].name
    return [] if reason is None else [f"the optimizer {name} is not capturable ({reason})"]
