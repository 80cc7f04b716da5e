"""Parts of a model by name, and freezing them."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.model.segmentation import SegmentationModel

BACKBONE, HEAD = "backbone", "head"
"""The two parts that every model has; the head is all that is not in the backbone."""


def in_parts(model: SegmentationModel, parts: Sequence[str], key: str) -> Callable[[str], bool]:
    """Whether a module or tensor of a model, by its name, belongs to one of some parts.

    Args:
        model: the model.
        parts: `backbone`, `head`, or names of modules or tensors, as in `backbone.stages.0`.
        key: dotted key of the recipe, perhaps behind its place, for messages.

    Raises:
        RecipeError: the model has no such part.
    """
    names, backbone = _names(model), model.backbone_name
    for part in parts:
        if part not in (BACKBONE, HEAD, *names):
            first = [BACKBONE, HEAD, *(name for name in names if name.count(".") == 1)]
            hint = did_you_mean(part, get_close_matches(part, [*names, *first]) or first)
            raise RecipeError(f"{key}: the model has no part {part!r}, {hint}")
        if part == BACKBONE and not backbone:
            raise RecipeError(f"{key}: the model has no backbone; name modules of it")

    def belongs(name: str) -> bool:
        in_backbone = bool(backbone) and _is_in(name, backbone)
        return any(
            not in_backbone
            if part == HEAD
            else _is_in(name, backbone if part == BACKBONE else part)
            for part in parts
        )

    return belongs


def freeze(model: SegmentationModel, parts: Sequence[str], key: str = "training.freeze") -> None:
    """Exclude parts of a model from training.

    Their weights get no gradient, and their modules stay in evaluation mode: batch normalization
    uses and keeps its running statistics, and dropout does nothing.

    Args:
        model: the model.
        parts: see `in_parts`.
        key: as there.

    Raises:
        RecipeError: the model has no such part, it is a statistic, or nothing is left to train.
    """
    is_frozen = in_parts(model, parts, key)
    statistics = {name for name, _ in model.named_buffers()}
    for part in parts:
        if part in statistics:
            module, _, _ = part.rpartition(".")
            raise RecipeError(f"{key}: {part} stays as it is only with its module; name {module}")
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if is_frozen(name):
            parameter.requires_grad_(False)
    if not any(one.requires_grad for one in model.parameters()):
        problem = "freezes all weights of the model, so nothing is trained; freeze less"
        raise RecipeError(f"{key}: {problem}")
    model.frozen = [one for name, one in model.named_modules() if name and is_frozen(name)]
    model.train(model.training)


def _names(model: SegmentationModel) -> list[str]:
    """Names of all modules and tensors; not the model itself."""
    names = [*(name for name, _ in model.named_modules()), *model.state_dict()]
    return list(filter(None, names))


def _is_in(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
