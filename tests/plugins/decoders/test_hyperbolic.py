"""The hyperbolic loss and decoder against their equations, per pixel and class."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hieraseg import Hierarchy, registry
from hieraseg.testing.cases import forget_anywhere, random_logits, random_targets
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.losses import assert_close, derive
from tests.support.trees import SEEDS, Tree, ancestors_of, descendants_of, nested_trees

CHANNELS = [8, 12, 16]
CLASSES = [2, 5]


# The loss.


@given(nested_trees(), SEEDS, st.sampled_from([0.0, 0.3, 0.9]))
def test_loss_matches_the_published_equation(tree: Tree, seed: int, ignored: float) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, (2, 1, 3), generator)
    targets = forget_anywhere(random_targets(hierarchy, (2, 1, 3), generator), generator, ignored)
    ancestors, descendants = ancestors_of(tree), descendants_of(tree)

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        siblings = set(hierarchy.level_names[0])
        if level > 0:
            parent = next(node for node in ancestors[level, true] if node[0] == level - 1)
            siblings = {name for depth, name in descendants[parent] if depth == level}
        z = dict(zip(hierarchy.level_names[level], own[level], strict=True))
        return -torch.log(z[true].exp() / torch.stack([z[name].exp() for name in siblings]).sum())

    loss = registry.losses.get("hyperbolic")(hierarchy=hierarchy)
    terms, gradients = terms_and_gradients(loss, logits, targets)
    expected, slopes = derive(hierarchy, logits, targets, cost)
    assert_close(terms, expected)
    assert_close(gradients, slopes)


def test_chains_cost_nothing_below_their_first_node() -> None:
    hierarchy = Hierarchy.from_tree({"background": None, "x": {"a": ["b", "c"]}})
    logits = random_logits(hierarchy, (1, 1, 1), torch.Generator().manual_seed(0))
    background = hierarchy.level_names[-1].index("background")
    loss = registry.losses.get("hyperbolic")(hierarchy=hierarchy)
    terms, gradients = terms_and_gradients(
        loss, logits, hierarchy.paths[background].view(1, 3, 1, 1)
    )
    assert terms[0] > 0
    assert [term.item() for term in terms[1:]] == [0, 0]
    assert [bool(gradient.any()) for gradient in gradients] == [True, False, False]


# The decoder.


def build(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return registry.decoders.get("hyperbolic")(channels=CHANNELS, num_classes=CLASSES, **settings)


def pyramid() -> list[Tensor]:
    return [torch.rand(2, n, 16 >> i, 12 >> i) for i, n in enumerate(CHANNELS)]


def exponential_map(v: Tensor, c: float) -> Tensor:
    """At the origin (Ganea et al. 2018, lemma 2), clipped at 1 - 1e-3 of the ball's radius."""
    length = math.sqrt(c) * v.norm()
    return v if length == 0 else min(math.tanh(length), 1 - 1e-3) * v / length


def moebius_sum(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Ganea et al. 2018, equation 4."""
    xy, xx, yy = x @ y, x @ x, y @ y
    return ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy)


def published_logit(x: Tensor, p: Tensor, normal: Tensor, c: float) -> float:
    """Ganea et al. 2018, equation 25, with the normal transported from the origin to p."""
    factor = 2 / (1 - c * (p @ p))
    a = 2 / factor * normal
    z = moebius_sum(-p, x, c)
    argument = 2 * math.sqrt(c) * (z @ a) / ((1 - c * (z @ z)) * a.norm())
    return float(factor * a.norm() / math.sqrt(c) * argument.asinh())


@given(
    SEEDS,
    st.sampled_from([0.1, 1.0, 3.0]),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.01, 1.0, 30.0]),
    st.sampled_from([0.0, 0.3, 2.0, 30.0]),
)
def test_logits_match_the_published_equation(
    seed: int, c: float, dimensions: int, spread: float, offset: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    gyroplanes = build(dimensions=dimensions, curvature=c).gyroplanes
    with torch.no_grad():
        gyroplanes.normals.copy_(torch.randn(7, dimensions, generator=generator))
        gyroplanes.offsets.copy_(offset * torch.randn(7, dimensions, generator=generator))
    vectors = spread * torch.randn(2, dimensions, 2, 1, generator=generator)
    logits = gyroplanes(vectors)
    assert logits.shape == (2, 7, 2, 1)
    for node in range(7):
        normal = gyroplanes.normals[node].detach().double()
        p = exponential_map(gyroplanes.offsets[node].detach().double(), c)
        for b, y in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            x = exponential_map(vectors[b, :, y, 0].double(), c)
            expected = published_logit(x, p, normal, c)
            # float32 keeps seven digits of what the argument of asinh is a difference of, which is
            # large near the rim.
            large = float((1 - c * (x @ x)) * (1 - c * (p @ p))) ** -1
            rounding = 1e-5 + 2e-6 * large * float(normal.norm()) / math.sqrt(c)
            assert logits[b, node, y, 0].item() == pytest.approx(expected, rel=1e-4, abs=rounding)


def test_logits_of_a_flat_ball_are_linear() -> None:
    # As c goes to 0, the logit becomes 4 <x - p, a> (Ganea et al. 2018, below equation 25).
    generator = torch.Generator().manual_seed(0)
    gyroplanes = build(dimensions=3, curvature=1e-6).gyroplanes
    with torch.no_grad():
        gyroplanes.offsets.copy_(torch.randn(7, 3, generator=generator))
    vectors = torch.randn(1, 3, 4, 5, generator=generator)
    apart = vectors[:, None] - gyroplanes.offsets[..., None, None]
    expected = 4 * (apart * gyroplanes.normals[..., None, None]).sum(2)
    assert torch.allclose(gyroplanes(vectors), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("length", [0.0, 1e-20, 1e-3, 10.0, 1e4])
def test_gradients_are_finite(length: float) -> None:
    generator = torch.Generator().manual_seed(0)
    gyroplanes = build(dimensions=4).gyroplanes
    direction = torch.randn(1, 4, 3, 3, generator=generator)
    vectors = (length * direction / direction.norm(dim=1, keepdim=True)).requires_grad_()
    for offset in (0.0, 1e-3, 1e4):
        with torch.no_grad():
            gyroplanes.offsets.fill_(offset)
        logits = gyroplanes(vectors)
        inputs = [vectors, *gyroplanes.parameters()]
        gradients = torch.autograd.grad((logits * torch.randn(logits.shape)).sum(), inputs)
        assert logits.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert gradients[0].any()


def test_autocast_does_not_change_logits() -> None:
    decoder = build(dimensions=8)
    vectors = torch.randn(2, 8, 4, 4, dtype=torch.bfloat16)
    expected = decoder.gyroplanes(vectors.float())
    with torch.autocast("cpu", torch.bfloat16):
        logits = decoder.gyroplanes(vectors)
        predicted = decoder(pyramid()).logits
    assert torch.equal(logits, expected)
    assert all(level.dtype == torch.float32 for level in predicted)


def test_initial_pixels_are_away_from_the_rim() -> None:
    # At the rim, a pixel has no radial gradient. The released model has 256 dimensions.
    decoder = build()
    seen: list[Tensor] = []
    with decoder.gyroplanes.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        decoder([torch.randn(features.shape) for features in pyramid()])
    assert 0.1 < seen[0].norm(dim=1).mean() < 1


def test_logits_have_the_finest_stride() -> None:
    stages = pyramid()
    prediction = build(width=6, dimensions=2)(stages)
    assert [tuple(z.shape) for z in prediction.logits] == [(2, n, 16, 12) for n in CLASSES]
    assert prediction.embedding is None


def test_every_stage_reaches_every_level() -> None:
    stages = [features.requires_grad_() for features in pyramid()]
    for logits in build(width=6, dimensions=3)(stages).logits:
        loss = (logits * torch.randn(logits.shape)).sum()
        gradients = torch.autograd.grad(loss, stages, retain_graph=True)
        assert all(gradient.any() for gradient in gradients)


def test_the_decoder_learns_a_tree() -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d", "e"]})
    loss = registry.losses.get("hyperbolic")(hierarchy=hierarchy)
    decoder = build(width=8, dimensions=2)
    stages = [torch.randn(features.shape) for features in pyramid()]
    targets = hierarchy.paths[stages[0][:, :5].argmax(1)].movedim(-1, 1)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=0.03)
    losses = []
    for _ in range(60):
        total = torch.stack(list(loss(decoder(stages), targets).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width must be positive, got 0"),
        ({"dimensions": 0}, "dimensions must be positive, got 0"),
        ({"curvature": 0.0}, "curvature must be positive, got 0.0"),
        ({"curvature": math.nan}, "curvature must be finite and positive, got nan"),
    ],
)
def test_arguments_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**settings)
