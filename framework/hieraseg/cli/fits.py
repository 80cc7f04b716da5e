"""What a component fits, for `hieraseg list`: what it takes from other components, or gives them.

Components are built with their default arguments, and without memory for their weights. What that
does not tell is left out.
"""

from collections.abc import Callable
from typing import Any

import torch

from hieraseg.contracts import has_argument
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe.arguments import arguments_of
from hieraseg.registry.kinds import Kind

_STRIDES = ([4, 8, 16, 32], [2, 4, 8, 16, 32], [8, 16, 32], [16])  # of usual feature pyramids
_CHANNELS = 64
_TREE = {"background": None, "body": {"upper": ["head", "arm"], "lower": ["leg"]}}

Fits = dict[str, Any]


def of(component: Callable[..., Any], kind: Kind) -> Fits:
    """What a component fits, as JSON values by name."""
    of_kind = kind.load_fits()
    try:
        return of_kind(component, kind) if of_kind else {}
    except Exception:  # it breaks its contract, and `hieraseg check` says where
        return {}


def of_backbone(component: Callable[..., Any], kind: Kind) -> Fits:
    """`strides` and `channels` of the feature maps."""
    backbone = _built(component, kind, {})
    if backbone is None:
        return {}
    return {"strides": list(backbone.strides), "channels": list(backbone.channels)}


def of_decoder(component: Callable[..., Any], kind: Kind) -> Fits:
    """`strides` of the usual feature pyramids that it does not refuse, and `embedding`."""
    tree = Hierarchy.from_tree(_TREE)
    supplied: dict[str, Any] = {"hierarchy": tree, "num_classes": tree.num_classes}

    def accepts(strides: list[int]) -> bool:
        pyramid = {"strides": strides, "channels": [_CHANNELS] * len(strides)}
        try:
            return _built(component, kind, supplied | pyramid) is not None
        except ValueError:
            return False

    accepted = list(filter(accepts, _STRIDES))
    return {**({"strides": accepted} if accepted else {}), **_embedding(component)}


def of_model(component: Callable[..., Any], kind: Kind) -> Fits:
    """Whether it provides an `embedding`."""
    return _embedding(component)


def of_loss(component: Callable[..., Any], kind: Kind) -> Fits:
    """Whose logits it trains (`levels`), their `activation`, and `embedding_channels`."""
    tree = Hierarchy.from_tree(_TREE)
    pixels = [torch.ones(classes, dtype=torch.float64) for classes in tree.num_classes]
    loss = _built(component, kind, {"hierarchy": tree, "class_pixels": pixels}, device="cpu")
    if loss is None:
        return {}
    return {key: getattr(loss, key) for key in ("levels", "activation", "embedding_channels")}


def as_text(fits: Fits) -> str:
    """A short line, as in `strides 4, 8, 16; channels 40, 112, 320`; empty if nothing is known."""
    words = []
    for key, value in fits.items():
        match key, value:
            case "embedding", _:
                words.append("embedding" if value else "no embedding")
            case "embedding_channels", 0:
                pass
            case "embedding_channels", _:
                words.append(f"embedding of {value} channels")
            case "levels", "none":
                words.append("no logits")
            case "levels", _:
                words.append("logits of all levels" if value == "all" else "logits of the leaves")
            case "activation", _:
                words += [] if fits.get("levels") == "none" else [str(value)]
            case "strides", [list(), *_] if len(value) == len(_STRIDES):
                words.append("any strides")
            case "strides", [list(), *_]:
                words.append(f"strides {' or '.join(map(_listed, value))}")
            case _:
                words.append(f"{key} {_listed(value)}")
    return "; ".join(words)


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


def _embedding(component: Callable[..., Any]) -> Fits:
    return {"embedding": has_argument(component, "embedding_channels")}


def _built(
    component: Callable[..., Any], kind: Kind, supplied: dict[str, Any], device: str = "meta"
) -> Any | None:
    """The component; None if its defaults are not enough."""
    arguments = arguments_of(component, kind.supplied)
    if any(argument.required for argument in arguments.values()):
        return None
    given = {name: one for name, one in supplied.items() if has_argument(component, name)}
    if "weights" in arguments:
        given["weights"] = None
    with torch.device(device), keep_working_directory():
        return component(**given)
