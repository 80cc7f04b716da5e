"""Losses and agreement of several processes, which are threads here."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hieraseg import Hierarchy, Prediction, registry
from hieraseg.contracts import has_argument
from hieraseg.data.sampling import generator
from hieraseg.errors import DataError, HierasegError
from hieraseg.functional import denominator, gather, mean_over_valid
from hieraseg.processes import (
    gather_objects,
    mean_over_ranks,
    on_all_ranks,
    own_or_first,
    sum_over_ranks,
)
from hieraseg.training.totals import Totals
from tests.support.processes import as_processes

HIERARCHY = Hierarchy.from_tree(
    {"background": None, "body": {"upper": ["head", "arm"], "lower": ["leg", "foot"]}},
    labels={0: "background", 1: "head", 2: "arm", 3: "leg", 4: "foot", 5: "body"},
    background="background",
    void=[255],
)
CLASS_WEIGHTS = [[1.0, 2.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0]]
EXACT: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("bce", "hxe", "hyperbolic", "level_consistency", "logic_rules")},
    **{name: {} for name in ("marginal_ce", "max_constraint", "rmi", "soft_labels", "focal")},
    "tree_min": {"gamma": 2.0},
    "weighted_ce": {"class_weights": CLASS_WEIGHTS},
}


def batch() -> tuple[list[Tensor], Tensor]:
    """Logits and masks of three images: all pixels are labelled, four of them, a quarter."""
    draw = generator(0, 0)  # not the global one, which threads share
    masks = torch.randint(0, 6, (3, 12, 12), generator=draw)
    masks[1], masks[2, :9] = 255, 255
    masks[1, 0, :4] = 1
    sizes = [(3, classes, 12, 12) for classes in HIERARCHY.num_classes]
    return [torch.randn(size, generator=draw) for size in sizes], masks


def loss_and_gradients(
    name: str, arguments: dict[str, Any], rows: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The loss of some images, and the gradients of their logits."""
    loss = registry.losses.get(name)(hierarchy=HIERARCHY, **arguments)
    logits, masks = batch()
    own = [level[rows].requires_grad_() for level in logits[-1 if loss.levels == "leaves" else 0 :]]
    progress = {"progress": 0.9} if has_argument(loss.forward, "progress") else {}
    terms = loss(Prediction(tuple(own)), HIERARCHY.encode(masks[rows]), **progress)
    total = sum(terms.values())
    total.backward()
    return total.detach(), [level.grad for level in own]


@pytest.mark.parametrize("name", EXACT)
def test_losses_do_not_depend_on_the_number_of_processes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two images on one process, and one that is nearly void on the other."""
    shares = [torch.tensor([0, 2]), torch.tensor([1])]
    value, gradients = loss_and_gradients(name, EXACT[name], torch.arange(3))
    parts = as_processes(
        monkeypatch, 2, lambda rank: loss_and_gradients(name, EXACT[name], shares[rank])
    )
    values, of_parts = zip(*parts, strict=True)
    torch.testing.assert_close(torch.stack(values).mean(), value)
    for level, expected in enumerate(gradients):
        for rows, found in zip(shares, of_parts, strict=True):
            # The gradients of the processes are averaged.
            torch.testing.assert_close(found[level] / 2, expected[rows], atol=1e-8, rtol=1e-4)


def test_a_mean_over_all_processes_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs 1 and 3 on one process, 8 on the other: the mean is 4, not 5."""
    costs = [torch.tensor([[[1.0, 3.0, 9.0]]]), torch.tensor([[[8.0, 9.0, 9.0]]])]
    targets = [torch.tensor([[[0, 0, -100]]]), torch.tensor([[[0, -100, -100]]])]
    weights = [torch.tensor([[[1.0, 0.0, 5.0]]]), torch.tensor([[[3.0, 5.0, 5.0]]])]

    def work(rank: int) -> list[float]:
        plain = mean_over_valid(costs[rank], targets[rank])
        weighted = mean_over_valid(costs[rank], targets[rank], weights[rank])
        void = mean_over_valid(costs[rank], torch.full_like(targets[rank], -100))
        return torch.stack([plain, weighted, void]).tolist()

    mean = torch.tensor(as_processes(monkeypatch, 2, work)).mean(0)
    torch.testing.assert_close(mean, torch.tensor([4.0, 25 / 4, 0.0]))


def test_sums_means_and_gathered_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(rank: int) -> list[Any]:
        own = torch.tensor([1.0, 2.0]) * (rank + 1)
        return [
            sum_over_ranks({"a": own})["a"].tolist(),
            mean_over_ranks(own).tolist(),
            gather(own).tolist(),
            float(denominator(torch.tensor(rank))),
            float(denominator(torch.tensor(0))),
        ]

    expected = [[3.0, 6.0], [1.5, 3.0], [[1.0, 2.0], [2.0, 4.0]], 0.5, 1.0]
    assert as_processes(monkeypatch, 2, work) == [expected, expected]


def test_an_error_of_one_is_raised_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise DataError("x.jpg: is damaged")

    works = [lambda: "fine", fail, lambda: "fine"]
    errors = as_processes(monkeypatch, 3, lambda rank: on_all_ranks(works[rank]))
    for error in errors:
        assert isinstance(error, HierasegError)
        assert (str(error), error.exit_code) == ("x.jpg: is damaged", 3)
    assert as_processes(monkeypatch, 2, lambda rank: on_all_ranks(lambda: rank)) == [0, 1]


def test_totals_go_on_with_as_many_processes_or_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of two processes are 1 and 4; each has seen a pixel, and sees another one."""
    ok = torch.tensor(True)

    def step(totals: Totals, loss: float) -> None:
        counts = {name: torch.ones_like(one) for name, one in totals.counts.counts.items()}
        totals.add({"ce": torch.tensor(loss)}, counts, ok)
        totals.steps += 1

    def save(rank: int) -> dict[str, Any]:
        totals = Totals(HIERARCHY, torch.device("cpu"))
        step(totals, [1.0, 4.0][rank])
        return totals.state_dict()

    saved = as_processes(monkeypatch, 2, save)[0]

    def go_on(rank: int) -> tuple[float, float, float]:
        totals = Totals(HIERARCHY, torch.device("cpu"))
        totals.load_state_dict(saved)
        own = float(totals.terms["ce"])
        step(totals, 0.5)
        counts = sum_over_ranks(dict(totals.counts.counts))
        return own, float(totals.terms_mean()[1]), float(next(iter(counts.values())).max())

    # The mean of 1, 4 and of 0.5 twice.
    assert as_processes(monkeypatch, 2, go_on) == [(1.0, 1.5, 4.0), (4.0, 1.5, 4.0)]
    assert as_processes(monkeypatch, 1, go_on) == [(2.5, 1.5, 3.0)]


def test_random_numbers_go_on_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = as_processes(monkeypatch, 3, lambda rank: gather_objects(f"state {rank}"))[1]
    own = [f"state {rank}" for rank in range(3)]
    assert as_processes(monkeypatch, 3, lambda rank: own_or_first(saved)) == own
    assert as_processes(monkeypatch, 2, lambda rank: own_or_first(saved)) == ["state 0"] * 2
