"""Shipped components as parts of a captured training step: pure functions of device tensors."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hieraseg import Hierarchy, Loss, Prediction, registry
from hieraseg.contracts import has_argument
from hieraseg.testing.capturing import assert_capturable
from hieraseg.testing.cases import MAIN_TREE, forget_anywhere, random_targets
from hieraseg.testing.loss_cases import random_inputs
from tests.plugins.test_models import shipped
from tests.support.tracing import without_shape_checks

# The contract suites check each component with its defaults; these go on to other arguments.
pytestmark = pytest.mark.slow
TREES = {
    "uneven": MAIN_TREE,
    "pascal_part": registry.hierarchies.get("pascal_part")(),
}
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "bce": [{"level_weights": [0.1, 0.4, 1.0]}],
    "dice": [{"smooth": 1.0}],
    "focal": [{"alpha": 0.25, "gamma": 1.0}],
    "hssn": [{"published": "cityscapes"}, {"ramp": 0.0}],
    "hxe": [{"alpha": 0.0}],
    "level_consistency": [{"gamma": 0.0}, {"gamma": 0.5}],
    "logic_rules": [{"ramp": (0.0, 0.0)}],
    "lovasz": [{"level_weights": [0.1, 0.4, 1.0]}],
    "marginal_ce": [{"level_weights": [0.1, 0.4, 1.0]}],
    "ohem": [{"loss": "bce"}, {"loss": "weighted_ce", "threshold": 0.9, "min_kept": 0.5}],
    "rmi": [{"radius": 2, "stride": 1}],
    "soft_labels": [{"beta": 4.0}],
    "sum": [
        {"losses": ["weighted_ce", "marginal_ce"], "weights": [0.5, 1.0]},
        {
            "losses": ["tree_min", "tree_triplet", "lovasz"],
            "ramps": [(0.0, 0.0), (0.2, 0.6), (0.5, 0.5)],
        },
    ],
    "tree_min": [{"gamma": 2.0}, {"gamma": 0.5}],
    "tree_triplet": [{"margin": 0.6, "samples": 3}, {"ramp": 0.5, "seed": 7}],
    "tversky": [{"alpha": 0.3, "beta": 0.7}],
    "weighted_ce": [{"class_weights": "median_frequency", "level_weights": [0.1, 0.4, 1.0]}],
}
"""Arguments besides the defaults."""
NO_DEFAULTS = ("ohem", "sum")
SUM = ("sum", ARGUMENTS["sum"][1])
SIZE = (2, 12, 12)
every_tree = pytest.mark.parametrize("tree", TREES)


def loss_cases(with_arguments: bool = True) -> list[Any]:
    """Name and arguments of every shipped loss, with the defaults and with others."""
    return [
        pytest.param(name, arguments, id=f"{name} {arguments or ''}")
        for name in shipped(registry.losses)
        for arguments in [{}, *ARGUMENTS.get(name, [])]
        if (arguments if name in NO_DEFAULTS else with_arguments or not arguments)
    ]


def make_loss(name: str, arguments: dict[str, Any], hierarchy: Hierarchy) -> Loss:
    factory = registry.losses.get(name)
    supplied = {
        "hierarchy": hierarchy,
        "class_pixels": [torch.arange(n, dtype=torch.float64) for n in hierarchy.num_classes],
    }
    own = {key: value for key, value in supplied.items() if has_argument(factory, key)}
    if name == "sum":
        losses = [make_loss(part, {}, hierarchy) for part in arguments["losses"]]
        own, arguments = {}, {**arguments, "losses": losses}
    if name == "ohem":
        arguments = {**arguments, "loss": make_loss(arguments["loss"], {}, hierarchy)}
    return factory(**own, **arguments)


def batch(loss: Loss, hierarchy: Hierarchy) -> list[Tensor]:
    """Logits, an embedding if the loss needs one, targets with void, and progress."""
    generator = torch.Generator().manual_seed(0)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator)
    inputs = random_inputs(loss, hierarchy, SIZE, generator)
    return [*inputs, targets, torch.tensor(0.3)]


def terms(loss: Loss, inputs: Sequence[Tensor]) -> list[Tensor]:
    *outputs, targets, progress = inputs
    embedding = outputs.pop() if loss.embedding_channels else None
    timed = {"progress": progress} if has_argument(loss.forward, "progress") else {}
    return list(loss(Prediction(tuple(outputs), embedding), targets, **timed).values())


@every_tree
@pytest.mark.parametrize(("name", "arguments"), loss_cases())
def test_losses_can_be_captured(name: str, arguments: dict[str, Any], tree: str) -> None:
    loss = make_loss(name, arguments, TREES[tree])
    assert loss.capturable
    assert_capturable(loss, terms, batch(loss, TREES[tree]))


@pytest.mark.parametrize(("name", "arguments"), [*loss_cases(with_arguments=False), SUM])
def test_losses_are_compiled_in_one_piece(name: str, arguments: dict[str, Any]) -> None:
    """Forward and backward, with the values and gradients of eager code."""
    loss = make_loss(name, arguments, MAIN_TREE)
    inputs = batch(loss, MAIN_TREE)
    trained = [one for one in inputs if one.requires_grad]

    def values_and_gradients(call: Any) -> list[Tensor]:
        values = torch.stack(call(loss, inputs))
        slopes = torch.autograd.grad(
            values.sum(), trained, allow_unused=True, materialize_grads=True
        )
        return [values.detach(), *slopes]

    expected = values_and_gradients(terms)
    torch.compiler.reset()
    with without_shape_checks():
        found = values_and_gradients(torch.compile(terms, fullgraph=True, backend="aot_eager"))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "decoder", "channels"),
    [
        ("resnet50", "linear", 0),
        ("efficientnet_lite", "linear", 8),
        ("efficientnet_lite", "skip", 8),
        ("efficientnet_lite", "hyperbolic", 0),
    ],
)
def test_models_can_be_captured(backbone: str, decoder: str, channels: int) -> None:
    body = registry.backbones.get(backbone)()
    embedding = {"embedding_channels": channels} if channels else {}
    head = registry.decoders.get(decoder)(body.channels, [2, 3, 7], **embedding)

    def call(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
        logits, own, _ = model(inputs[0])
        return [*logits, *([] if own is None else [own])]

    assert_capturable(nn.Sequential(body, head).train(), call, [torch.rand(2, 3, 64, 64)])


@every_tree
@pytest.mark.parametrize("name", shipped(registry.inference))
def test_inference_rules_can_be_captured(name: str, tree: str) -> None:
    hierarchy = TREES[tree]
    factory = registry.inference.get(name)
    rule = factory(hierarchy) if has_argument(factory, "hierarchy") else factory()
    scores = [torch.rand(2, classes, 5, 6) for classes in hierarchy.num_classes]

    def call(rule: Any, scores: list[Tensor]) -> list[Tensor]:
        return [rule(scores)]

    assert_capturable(rule, call, scores)
    torch.compiler.reset()
    with without_shape_checks():
        (compiled,) = torch.compile(call, fullgraph=True, backend="eager")(rule, scores)
    assert torch.equal(compiled, rule(scores))


@pytest.mark.parametrize("name", shipped(registry.optimizers))
def test_optimizers_take_the_learning_rate_as_a_tensor(name: str) -> None:
    """As the captured step gives it, with AdamW's `capturable`: the same steps."""

    def steps(as_tensor: bool) -> list[Tensor]:
        torch.manual_seed(0)
        parts = {
            "backbone": [nn.Parameter(torch.randn(3, 4))],
            "head": [nn.Parameter(torch.ones(2))],
        }
        named = {"optimizer": "adamw"} if name == "timm" else {}
        optimizer = registry.optimizers.get(name)(
            parts, lr=0.1, backbone_lr_multiplier=0.5, **named
        )
        parameters = [one for part in parts.values() for one in part]
        for step in range(3):
            for group in optimizer.param_groups:
                assert group["fused"]
                rate = float(group["lr"]) * 0.9
                group["lr"] = torch.tensor(rate) if as_tensor else rate
                if as_tensor and "capturable" in group:
                    group["capturable"] = True
            for one in parameters:
                one.grad = torch.sin(one.detach() + step)
            optimizer.step()
        return [one.detach() for one in parameters]

    torch.testing.assert_close(steps(as_tensor=True), steps(as_tensor=False))
