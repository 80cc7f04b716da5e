"""Losses on an embedding, on regions and on rules, against naive loops in float64."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction, registry
from hieraseg.testing.cases import Size, forget_anywhere, random_logits, random_targets
from tests.support.trees import SEEDS, Tree, ancestors_of, cuda, leaf_paths, nested_trees

SIZE = (2, 3, 4)
CHANNELS = 5
TREE = {"background": None, "x": ["a", "b"], "y": {"c": ["d", "e"]}}
Make = Callable[[Hierarchy], Loss]


def make(name: str, **settings: Any) -> Make:
    return lambda hierarchy: registry.losses.get(name)(hierarchy=hierarchy, **settings)


SHIPPED: dict[str, Make] = {
    "tree_triplet": make("tree_triplet", channels=CHANNELS),
    "tree_triplet constant": make("tree_triplet", channels=CHANNELS, margin=0.6, samples=3),
    "rmi": make("rmi"),
    "rmi fine": make("rmi", radius=2, stride=1),
    "logic_rules": make("logic_rules"),
    "hssn": make("hssn", channels=CHANNELS),
    "hssn cityscapes": make("hssn", channels=CHANNELS, published="cityscapes"),
}
every_loss = pytest.mark.parametrize("make", SHIPPED.values(), ids=SHIPPED.keys())


def hierarchy_of(tree: Tree, generator: torch.Generator, with_background: bool) -> Hierarchy:
    """Its leaves in a random order; one of them may be background."""
    leaves = [path[-1] for path in leaf_paths(tree)]
    shuffled = [leaves[index] for index in torch.randperm(len(leaves), generator=generator)]
    return Hierarchy.from_tree(
        tree, labels=shuffled, background=shuffled[0] if with_background else None
    )


def random_prediction(
    hierarchy: Hierarchy,
    size: Size,
    generator: torch.Generator,
    stride: int = 1,
    spread: float = 3.0,
) -> Prediction:
    """Logits and an embedding that ask for gradients."""
    batch, height, width = size
    embedding = torch.randn(batch, CHANNELS, height // stride, width // stride, generator=generator)
    logits = random_logits(hierarchy, size, generator, spread)
    return Prediction(tuple(logits), embedding.requires_grad_())


def leaf_tensors(prediction: Prediction) -> list[Tensor]:
    return [*prediction.logits, prediction.embedding]


def in_double(prediction: Prediction) -> Prediction:
    doubled = [tensor.detach().double().requires_grad_() for tensor in leaf_tensors(prediction)]
    return Prediction(tuple(doubled[:-1]), doubled[-1])


def gradients(total: Tensor, prediction: Prediction) -> list[Tensor]:
    """By logits and embedding; zero where the total does not depend on them."""
    return torch.autograd.grad(
        total,
        leaf_tensors(prediction),
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )


def evaluate(
    loss: Loss, prediction: Prediction, targets: Tensor, progress: float | None = None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The terms, and the gradients of their sum."""
    share = {} if progress is None else {"progress": progress}
    terms = loss(prediction, targets, **share)
    slopes = gradients(torch.stack(list(terms.values())).sum(), prediction)
    return {name: term.detach() for name, term in terms.items()}, slopes


def assert_same(
    found: dict[str, Tensor],
    slopes: list[Tensor],
    expected: dict[str, Tensor],
    exact: Prediction,
    tolerance: float = 2e-4,
) -> None:
    """Terms and gradients equal those of a derivation from `exact` in float64."""
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        assert found[name].item() == pytest.approx(
            torch.as_tensor(term).item(), rel=tolerance, abs=1e-6
        ), name
    total = torch.stack([torch.as_tensor(term) for term in expected.values()]).sum()
    if not total.requires_grad:
        assert all(slope.eq(0).all() for slope in slopes)
        return
    for slope, other in zip(slopes, gradients(total, exact), strict=True):
        scale = max(other.abs().max().item(), 1.0)
        torch.testing.assert_close(slope.double(), other, rtol=tolerance, atol=2e-6 * scale)


# Tree-triplet.


def published_triplets(
    tree: Tree,
    hierarchy: Hierarchy,
    embedding: Tensor,
    targets: Tensor,
    order: list[int],
    samples: int,
    margin: float | None,
) -> Tensor | float:
    """Mean over classes of the mean over their triplets, by loops over pixels in their order."""
    _, _, height, width = embedding.shape
    names = hierarchy.level_names[-1]
    ancestors = ancestors_of(tree)
    last = hierarchy.num_levels - 1
    pixels: list[tuple[str, Tensor]] = []
    for flat in order:
        b, y, x = flat // (height * width), flat // width % height, flat % width
        index = targets[b, -1, y * targets.shape[2] // height, x * targets.shape[3] // width]
        if index != IGNORE_INDEX and names[index] != hierarchy.background:
            pixels.append((names[index], F.normalize(embedding[b, :, y, x], dim=0)))

    def distance(one: str, other: str) -> int:
        return len(ancestors[last, one] ^ ancestors[last, other])

    classes = [name for name in names if name != hierarchy.background]
    tree_height = max(distance(one, other) for one in names for other in names) / 2
    if hierarchy.background:
        tree_height = max((distance(u, v) for u in classes for v in classes), default=0) / 2
    costs = []
    for name in classes:
        others = [distance(name, other) for other in classes if other != name]
        anchors = [z for other, z in pixels if other == name]
        near = [(c, z) for c, z in pixels if c != name and distance(name, c) == min(others)]
        far = [(c, z) for c, z in pixels if c != name and distance(name, c) > min(others)]
        triplets = list(zip(anchors, near, far, strict=False))[:samples]
        if triplets:
            total = 0.0
            for anchor, (positive, z_positive), (negative, z_negative) in triplets:
                m = margin
                if m is None:
                    longer = distance(name, negative) - distance(name, positive)
                    m = 0.1 + 0.5 * longer / tree_height
                d_positive, d_negative = 1 - anchor @ z_positive, 1 - anchor @ z_negative
                total = total + torch.relu(d_positive - d_negative + m)
            costs.append(total / len(triplets))
    return torch.stack(costs).mean() if costs else 0.0


@given(
    nested_trees(),
    SEEDS,
    st.booleans(),
    st.sampled_from([2, 200]),
    st.sampled_from([None, 0.6]),
    st.sampled_from([1, 2]),
)
def test_tree_triplet_is_the_published_equation(
    tree: Tree, seed: int, background: bool, samples: int, margin: float | None, stride: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hierarchy = hierarchy_of(tree, generator, background)
    size = (2, 3 * stride, 4 * stride)
    prediction = random_prediction(hierarchy, size, generator, stride)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator, 0.2)
    loss = make("tree_triplet", samples=samples, margin=margin, seed=3)(hierarchy)
    terms, slopes = evaluate(loss, prediction, targets, 0.7)
    exact = in_double(prediction)
    order = torch.randperm(24, generator=loss._generator(0.7)).tolist()
    expected = published_triplets(tree, hierarchy, exact.embedding, targets, order, samples, margin)
    weight = (1 + math.cos((0.7 - 1) * math.pi)) / 4
    assert_same(terms, slopes, {"tree_triplet": weight * expected}, exact)


@pytest.mark.parametrize(
    ("ramp", "progress", "weight"),
    [
        (1.0, 0.0, 0.0),
        (1.0, 0.25, (1 - math.sqrt(0.5)) / 4),
        (1.0, 0.5, 0.25),
        (1.0, 1.0, 0.5),
        (0.5, 0.25, 0.25),
        (0.5, 0.5, 0.5),
        (0.5, 0.75, 0.5),
        (0.0, 0.0, 0.5),
    ],
)
def test_the_weight_of_tree_triplet_by_hand(ramp: float, progress: float, weight: float) -> None:
    # All pixels have the same embedding, so every triplet costs its margin.
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"]})
    targets = hierarchy.encode(torch.tensor([[[0, 1, 2, 3]]]))
    prediction = Prediction((), torch.ones(1, CHANNELS, 1, 4))
    loss = make("tree_triplet", ramp=ramp, margin=0.8)(hierarchy)
    assert loss(prediction, targets, progress)["tree_triplet"].item() == pytest.approx(0.8 * weight)


@pytest.mark.parametrize(
    ("hierarchy", "classes", "margin"),
    [
        # Published: 0.6 for the three levels of persons and the two of Cityscapes.
        (registry.hierarchies.get("pascal_part")(), ["head", "torso", "up_leg", "low_leg"], 0.6),
        (Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"], "z": None}), list("abcd"), 0.6),
        # a and b are 2 edges apart, c is 4, d and e are 6; the tree is 3 edges high.
        (
            Hierarchy.from_tree(
                {"r": {"x": {"p": ["a", "b"], "q": ["c"]}, "y": {"s": ["d", "e"]}}}
            ),
            list("abc"),
            # c's nearest are a and b: it has no negative. a and b: 0.1 + 0.5 * 2 / 3.
            0.1 + 1 / 3,
        ),
        (
            Hierarchy.from_tree(
                {"r": {"x": {"p": ["a", "b"], "q": ["c"]}, "y": {"s": ["d", "e"]}}}
            ),
            list("abd"),
            0.1 + 2 / 3,  # d has no positive: e is nowhere
        ),
        # The chain e of another root stands as far from all: no triplets of its own.
        (Hierarchy.from_tree({"x": ["a", "b"], "e": None}), list("abe"), 0.6),
    ],
)
def test_margins_by_hand(hierarchy: Hierarchy, classes: list[str], margin: float) -> None:
    leaves = [hierarchy.level_names[-1].index(name) for name in classes]
    targets = hierarchy.paths[leaves].T[None, :, None]
    prediction = Prediction((), torch.ones(1, CHANNELS, 1, len(classes)))
    loss = make("tree_triplet")(hierarchy)
    assert loss(prediction, targets)["tree_triplet"].item() == pytest.approx(0.5 * margin)


@pytest.mark.parametrize(
    ("tree", "classes"),
    [
        ({"x": ["a", "b"], "y": ["c"]}, ["a", "a", "b"]),  # no negative
        ({"x": ["a", "b"], "y": ["c"]}, ["a", "a", "c"]),  # no positive
        (["a", "b", "c"], ["a", "b", "c"]),  # all as near as each other
        (["a"], ["a", "a", "a"]),
        ({"x": ["a", "b"], "background": None}, ["a", "b", "background"]),
    ],
)
def test_no_triplets_give_zero_with_a_graph(tree: Any, classes: list[str]) -> None:
    background = "background" if "background" in tree else None
    hierarchy = Hierarchy.from_tree(tree, background=background)
    leaves = [hierarchy.level_names[-1].index(name) for name in classes]
    targets = hierarchy.paths[leaves].T[None, :, None]
    embedding = torch.randn(1, CHANNELS, 1, 3).requires_grad_()
    term = make("tree_triplet")(hierarchy)(Prediction((), embedding), targets)["tree_triplet"]
    assert term == 0
    assert torch.autograd.grad(term, embedding)[0].eq(0).all()


def test_void_and_background_take_no_part_in_triplets() -> None:
    hierarchy = Hierarchy.from_tree(TREE, background="background")
    generator = torch.Generator().manual_seed(0)
    size = (2, 8, 8)
    prediction = random_prediction(hierarchy, size, generator)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
    leaf = targets[:, -1]
    no_part = (leaf == IGNORE_INDEX) | (leaf == hierarchy.background_index(-1))
    poison = torch.where(no_part[:, None], 1e3 * prediction.embedding, prediction.embedding)
    poisoned = Prediction(prediction.logits, (-poison).detach().requires_grad_())
    back = Prediction(prediction.logits, (-prediction.embedding).detach().requires_grad_())
    loss = make("tree_triplet")(hierarchy)
    terms, slopes = evaluate(loss, back, targets)
    assert terms["tree_triplet"] > 0
    assert terms == evaluate(loss, poisoned, targets)[0]
    assert slopes[-1].movedim(1, -1)[no_part].eq(0).all()
    assert slopes[-1].movedim(1, -1)[~no_part].ne(0).any()


def test_the_draw_depends_on_seed_and_progress_alone() -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"]})
    generator = torch.Generator().manual_seed(0)
    prediction = random_prediction(hierarchy, (2, 8, 8), generator)
    targets = random_targets(hierarchy, (2, 8, 8), generator)

    def value(seed: int, progress: float) -> float:
        # The weight is 0.5 throughout, so that only the draw differs.
        loss = make("tree_triplet", samples=4, ramp=0.0, seed=seed)(hierarchy)
        torch.rand(1)  # the global generator has no say
        first = loss(prediction, targets, progress)["tree_triplet"].item()
        assert loss(prediction, targets, progress)["tree_triplet"].item() == first
        return first

    assert value(0, 0.5) == value(0, 0.5)
    assert len({value(seed, step / 10) for seed in (0, 1, -1) for step in range(10)}) == 30


def test_all_pixels_of_a_class_are_drawn_in_time() -> None:
    # The released code takes a class's first pixels, always.
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"]})
    generator = torch.Generator().manual_seed(0)
    prediction = random_prediction(hierarchy, (1, 6, 6), generator)
    targets = random_targets(hierarchy, (1, 6, 6), generator)
    loss = make("tree_triplet", samples=2, margin=3.0)(hierarchy)
    drawn = torch.zeros(1, 6, 6, dtype=torch.bool)
    for step in range(1, 40):
        drawn |= evaluate(loss, prediction, targets, step / 40)[1][-1].ne(0).any(1)
    assert drawn.all()


def test_tree_triplet_needs_an_embedding() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    with pytest.raises(ValueError, match="offers none"):
        make("tree_triplet")(hierarchy)(Prediction(()), torch.zeros(1, 3, 2, 2, dtype=torch.int64))


# Region mutual information.


def max_pool(image: Tensor, stride: int) -> Tensor:
    """Windows of `stride` pixels, the first of which begins half a window outside the image."""
    starts = [
        range(-(stride // 2), side + stride // 2 - stride + 1, stride) for side in image.shape
    ]
    rows = []
    for y in starts[0]:
        windows = [image[max(y, 0) : y + stride, max(x, 0) : x + stride] for x in starts[1]]
        rows.append(torch.stack([window.max() for window in windows]))
    return torch.stack(rows)


def published_rmi(scores: Tensor, truth: Tensor, radius: int, stride: int, ridge: float) -> Tensor:
    """Zhao et al. 2019 for one image and class, from the posterior's covariance itself."""
    points = []
    for image in (truth, scores):
        pooled = max_pool(image, stride)
        height, width = (side - radius + 1 for side in pooled.shape)
        regions = [
            pooled[y : y + radius, x : x + radius].flatten()
            for y in range(height)
            for x in range(width)
        ]
        points.append(torch.stack(regions) - torch.stack(regions).mean(0))
    y, p = points
    eye = ridge * torch.eye(radius**2, dtype=torch.float64)
    unexplained = y.T @ y - (y.T @ p) @ torch.linalg.inv(p.T @ p + eye) @ (p.T @ y)
    return 0.5 * torch.linalg.slogdet(unexplained + eye).logabsdet / radius**2


@pytest.mark.parametrize(
    ("radius", "stride", "ridge", "size"),
    [
        (3, 3, 5e-4, (2, 13, 15)),
        (3, 1, 1e-3, (2, 6, 7)),
        (2, 2, 5e-4, (2, 9, 6)),
        (1, 4, 0.1, (1, 9, 9)),
    ],
)
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_rmi_is_the_published_equation(
    radius: int, stride: int, ridge: float, size: Size, ignored: float
) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(radius)
    prediction = random_prediction(hierarchy, size, generator)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator, ignored)
    loss = make("rmi", radius=radius, stride=stride, ridge=ridge)(hierarchy)
    terms, slopes = evaluate(loss, prediction, targets)
    exact = in_double(prediction)
    expected = {}
    for level, logits in enumerate(exact.logits):
        valid = targets[:, level] != IGNORE_INDEX
        total = torch.zeros((), dtype=torch.float64)
        for image in range(size[0]):
            for index in range(logits.shape[1]):
                scores = logits[image, index].sigmoid() * valid[image]
                truth = (targets[image, level] == index).double()
                total = total + published_rmi(scores, truth, radius, stride, ridge)
        expected[f"rmi_level{level + 1}"] = total / size[0]
    assert_same(terms, slopes, expected, exact, tolerance=1e-3)


def test_rmi_is_least_for_a_perfect_prediction() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b", "c"])  # c is nowhere
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(2, (2, 1, 18, 18), generator=generator)
    right = 40.0 * F.one_hot(targets[:, 0], 3).movedim(-1, 1) - 20.0
    loss = make("rmi")(hierarchy)

    def value(logits: Tensor) -> float:
        return loss(Prediction((logits,)), targets)["rmi_level1"].item()

    noise = torch.randn(right.shape, generator=generator)
    # S - S (S + r)^-1 S lies between 0 and r, so M + r between r and 2 r.
    least = math.log(5e-4) / 2
    assert 3 * least <= value(right) <= least + 2 * math.log(2 * 5e-4) / 2
    assert value(right) < value(right / 10 + noise) < value(noise)


def test_images_without_a_label_or_a_region_say_nothing_of_regions() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(1)
    size = (3, 12, 12)
    prediction = random_prediction(hierarchy, size, generator)
    targets = random_targets(hierarchy, size, generator)
    targets[1] = IGNORE_INDEX
    terms, slopes = evaluate(make("rmi")(hierarchy), prediction, targets)
    seen = Prediction(tuple(level.detach()[[0, 2]] for level in prediction.logits))
    expected = make("rmi")(hierarchy)(seen, targets[[0, 2]])
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {name: term.item() for name, term in expected.items()}
    )
    assert all(slope[1].eq(0).all() for slope in slopes)
    small = random_prediction(hierarchy, (2, 4, 40), generator)
    terms, slopes = evaluate(
        make("rmi")(hierarchy), small, random_targets(hierarchy, (2, 4, 40), generator)
    )
    assert [term.item() for term in terms.values()] == [0, 0, 0]
    assert all(slope.eq(0).all() for slope in slopes)


# Logic rules.


def p_mean(values: Tensor, exponent: float) -> Tensor:
    if not len(values):
        return torch.zeros((), dtype=values.dtype)
    return values.pow(exponent).mean().pow(1 / exponent)


def published_rules(
    tree: Tree, hierarchy: Hierarchy, logits: tuple[Tensor, ...], targets: Tensor
) -> dict[str, Tensor]:
    """Each rule's weighted term with the rules fully on, node by node over labelled pixels."""
    ancestors = ancestors_of(tree)
    labelled = (targets != IGNORE_INDEX).any(1)
    scores = {
        (level, name): logits[level][:, index][labelled].sigmoid()
        for level, names in enumerate(hierarchy.level_names)
        for index, name in enumerate(names)
    }
    parent = {
        node: next((above for above in ancestors[node] if above[0] == node[0] - 1), None)
        for node in scores
    }
    children = {node: [child for child in scores if parent[child] == node] for node in scores}
    composition = [
        p_mean(p - p * scores[above], 5)
        for node, p in scores.items()
        if (above := parent[node]) is not None
    ]
    decomposition = [
        p_mean(p - p * torch.stack([scores[child] for child in below]).amax(0), 5)
        for node, p in scores.items()
        if (below := children[node])
    ]
    exclusion = []
    for node, p in scores.items():
        siblings = [
            other
            for other in scores
            if other != node and other[0] == node[0] and parent[other] == parent[node]
        ]
        if siblings:
            pairs = [p_mean(p * scores[other], 3) for other in siblings]
            exclusion.append(torch.stack(pairs).mean())
    rules = {
        "composition": (0.3, composition),
        "decomposition": (0.3, decomposition),
        "exclusion": (0.2, exclusion),
    }
    return {name: w * torch.stack(broken).mean() for name, (w, broken) in rules.items() if broken}


def published_focal(logits: Tensor, target: Tensor) -> Tensor:
    """Focal binary cross-entropy, alpha 0.5 and gamma 2: sum over classes, mean over pixels."""
    valid = target != IGNORE_INDEX
    p = logits.sigmoid().movedim(1, -1)[valid]
    truth = F.one_hot(target[valid], logits.shape[1])
    cost = -0.5 * truth * (1 - p) ** 2 * p.log() - 0.5 * (1 - truth) * p**2 * (1 - p).log()
    return cost.sum() / valid.sum().clamp(min=1)


@given(nested_trees(), SEEDS, st.sampled_from([0.0, 0.3, 0.9]))
def test_each_logic_rule_is_the_published_equation(tree: Tree, seed: int, ignored: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    hierarchy = hierarchy_of(tree, generator, False)
    prediction = random_prediction(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator, ignored)
    exact = in_double(prediction)
    expected = published_rules(tree, hierarchy, exact.logits, targets)
    for level, logits in enumerate(exact.logits):
        term = 0.5 * published_focal(logits, targets[:, level])
        expected[f"focal_bce_level{level + 1}"] = term
    terms = make("logic_rules")(hierarchy)(prediction, targets)
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        slopes = gradients(term, prediction)
        assert_same({name: term.detach()}, slopes, {name: expected[name]}, exact)


def test_logic_rules_by_hand() -> None:
    # One pixel: x .8 with the children a .5 and b .25, y .1 with the child c .9.
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c"]})
    roots, leaves = torch.tensor([0.8, 0.1]).logit(), torch.tensor([0.5, 0.25, 0.9]).logit()
    prediction = Prediction((roots.view(1, 2, 1, 1), leaves.view(1, 3, 1, 1)))
    terms = make("logic_rules")(hierarchy)(prediction, torch.zeros(1, 2, 1, 1, dtype=torch.int64))
    composition = (0.5 * 0.2 + 0.25 * 0.2 + 0.9 * 0.9) / 3
    decomposition = (0.8 * 0.5 + 0.1 * 0.1) / 2
    exclusion = (2 * 0.8 * 0.1 + 2 * 0.5 * 0.25) / 4  # x and y, a and b; c has no sibling
    assert terms["composition"].item() == pytest.approx(0.3 * composition)
    assert terms["decomposition"].item() == pytest.approx(0.3 * decomposition)
    assert terms["exclusion"].item() == pytest.approx(0.2 * exclusion)
    focal = 0.5 * (0.2**2 * -math.log(0.8) + 0.1**2 * -math.log(0.9))
    assert terms["focal_bce_level1"].item() == pytest.approx(0.5 * focal)


@pytest.mark.parametrize(
    ("settings", "progress", "share"),
    [
        ({}, 0.0, 0.0),
        ({}, 0.25, 0.0),
        ({}, 11 / 24, 0.5),
        ({}, 2 / 3, 1.0),
        ({}, 1.0, 1.0),
        ({"ramp": (0.0, 0.0)}, 0.0, 1.0),
        ({"ramp": (0.0, 0.5)}, 0.1, 0.2),
        ({"ramp": (0.5, 0.5)}, 0.4, 0.0),
        ({"ramp": (0.5, 0.5)}, 0.5, 1.0),
    ],
)
def test_the_ramp_of_logic_rules_by_hand(
    settings: dict[str, Any], progress: float, share: float
) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(0)
    prediction = random_prediction(hierarchy, SIZE, generator)
    targets = random_targets(hierarchy, SIZE, generator)
    loss = make("logic_rules", **settings)(hierarchy)
    whole, part = loss(prediction, targets, 1.0), loss(prediction, targets, progress)
    for name, term in whole.items():
        expected = term if name.startswith("focal") else share * term
        assert part[name].item() == pytest.approx(expected.item(), abs=1e-7)


# HSSN.


@pytest.mark.parametrize(
    ("published", "parts"),
    [
        (
            "cityscapes",
            [(5.0, "tree_min", {}), (1.0, "weighted_ce", {}), (1.0, "tree_triplet", {"seed": 7})],
        ),
        (
            "person_part",
            [
                (0.5, "rmi", {"ridge": 1e-3}),
                (0.5, "tree_min", {"gamma": 2.0}),
                (1.0, "weighted_ce", {}),
                (1.0, "tree_triplet", {"seed": 7}),
            ],
        ),
    ],
)
def test_hssn_is_the_sum_of_its_parts(
    published: str, parts: list[tuple[float, str, dict[str, Any]]]
) -> None:
    hierarchy = Hierarchy.from_tree(TREE, background="background")
    generator = torch.Generator().manual_seed(0)
    size = (2, 12, 12)
    prediction = random_prediction(hierarchy, size, generator)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
    loss = make("hssn", published=published, seed=7, ramp=0.8)(hierarchy)
    terms = loss(prediction, targets, 0.3)
    expected = {}
    for weight, name, settings in parts:
        if name == "tree_triplet":
            alone = make(name, ramp=0.8, **settings)(hierarchy)(prediction, targets, 0.3)
        else:
            alone = make(name, **settings)(hierarchy)(prediction, targets)
        expected |= {key: weight * term.item() for key, term in alone.items()}
    assert {key: term.item() for key, term in terms.items()} == pytest.approx(expected)
    assert all(value != 0 for value in expected.values())


# What holds for each of them.


@pytest.mark.parametrize(
    ("loss", "settings", "words"),
    [
        ("tree_triplet", {"samples": 0}, "samples is 0"),
        ("tree_triplet", {"margin": -0.1}, "margin is -0.1"),
        ("tree_triplet", {"ramp": 1.5}, "ramp is 1.5"),
        ("tree_triplet", {"channels": 0}, "channels is 0"),
        ("rmi", {"radius": 0}, "radius is 0"),
        ("rmi", {"stride": 0}, "stride is 0"),
        ("rmi", {"ridge": 0.0}, "ridge is 0"),
        ("logic_rules", {"ramp": (0.5, 0.2)}, "ramp is"),
        ("logic_rules", {"ramp": (0.5, 1.2)}, "ramp is"),
        ("hssn", {"ramp": -1.0}, "ramp is -1"),
    ],
)
def test_mistakes_are_one_sentence(loss: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        make(loss, **settings)(Hierarchy.from_tree(TREE))
    assert "\n" not in str(caught.value)


@every_loss
def test_void_pixels_have_exactly_no_gradient(make: Make) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(1)
    prediction = random_prediction(hierarchy, (2, 12, 12), generator)
    targets = random_targets(hierarchy, (2, 12, 12), generator)
    void = torch.rand(2, 12, 12, generator=generator) < 0.5
    targets = targets.masked_fill(void[:, None], IGNORE_INDEX)
    slopes = [slope.movedim(1, -1) for slope in evaluate(make(hierarchy), prediction, targets)[1]]
    assert all(slope[void].eq(0).all() for slope in slopes)
    assert any(slope[~void].ne(0).any() for slope in slopes)


@every_loss
def test_an_all_void_batch_gives_zero_with_a_graph(make: Make) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    prediction = random_prediction(hierarchy, (2, 12, 12), torch.Generator().manual_seed(3))
    targets = torch.full((2, 3, 12, 12), IGNORE_INDEX)
    terms = make(hierarchy)(prediction, targets)
    assert all(term == 0 and term.requires_grad for term in terms.values())
    slopes = gradients(torch.stack(list(terms.values())).sum(), prediction)
    assert all(slope.eq(0).all() for slope in slopes)


@every_loss
def test_inputs_are_not_changed(make: Make) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(4)
    prediction = random_prediction(hierarchy, (2, 12, 12), generator)
    targets = forget_anywhere(random_targets(hierarchy, (2, 12, 12), generator), generator)
    tensors = [*leaf_tensors(prediction), targets]
    before = [tensor.detach().clone() for tensor in tensors]
    evaluate(make(hierarchy), prediction, targets)
    assert all(map(torch.equal, before, tensors))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_values_give_finite_losses_and_gradients(make: Make, dtype: torch.dtype) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(5)
    size = (2, 12, 12)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
    for spread in (1.0, 200.0, 1e4):
        extreme = [
            tensor.detach().clamp(-1, 1).mul(spread).to(dtype).requires_grad_()
            for tensor in leaf_tensors(random_prediction(hierarchy, size, generator))
        ]
        prediction = Prediction(tuple(extreme[:-1]), extreme[-1])
        terms, slopes = evaluate(make(hierarchy), prediction, targets)
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
        assert all(slope.isfinite().all() and slope.dtype == dtype for slope in slopes)


@every_loss
def test_autocast_does_not_change_the_loss(make: Make) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(6)
    prediction = random_prediction(hierarchy, (2, 12, 12), generator)
    targets = random_targets(hierarchy, (2, 12, 12), generator)
    terms, slopes = evaluate(make(hierarchy), prediction, targets)
    with torch.autocast("cpu", torch.bfloat16):
        there = make(hierarchy)(prediction, targets)
    slopes_there = gradients(torch.stack(list(there.values())).sum(), prediction)
    assert there == terms
    assert all(map(torch.equal, slopes, slopes_there))


@every_loss
def test_three_thousand_leaves(make: Make) -> None:
    tree = {f"group{i}": [f"leaf{i}_{j}" for j in range(60)] for i in range(50)}
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(8)
    prediction = random_prediction(hierarchy, (1, 12, 12), generator)
    targets = random_targets(hierarchy, (1, 12, 12), generator)
    terms, slopes = evaluate(make(hierarchy), prediction, targets)
    assert all(term.isfinite() and term != 0 for term in terms.values())
    assert all(slope.isfinite().all() for slope in slopes)


@every_loss
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=cuda)])
def test_losses_on_cuda_equal_those_on_the_cpu(make: Make, device: str) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(7)
    size = (2, 30, 40)
    prediction = random_prediction(hierarchy, size, generator)
    targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
    terms, slopes = evaluate(make(hierarchy), prediction, targets)
    moved = [t.detach().to(device).requires_grad_() for t in leaf_tensors(prediction)]
    there, slopes_there = evaluate(
        make(hierarchy).to(device), Prediction(tuple(moved[:-1]), moved[-1]), targets.to(device)
    )
    for name, term in terms.items():
        assert there[name].item() == pytest.approx(term.item(), rel=1e-4, abs=1e-6)
    for slope, other in zip(slopes_there, slopes, strict=True):
        torch.testing.assert_close(slope.cpu(), other, rtol=1e-3, atol=1e-6)
