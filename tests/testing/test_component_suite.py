"""The properties of components of every kind."""

from typing import Annotated, Any

import pytest
from torch import nn, optim

from hieraseg.errors import Stopped
from hieraseg.testing.violations import violating_value
from hieraseg.types import (
    Ascending,
    NonEmpty,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Range,
    check_arguments,
    violation,
)
from tests.support.broken import check, failed, reasons

PROPERTY = "out_of_range_arguments_raise_value_error"
Parts = dict[str, list[nn.Parameter]]


def adam(parameters: Parts, **settings: Any) -> optim.Optimizer:
    return optim.Adam([{"params": own} for own in parameters.values() if own], **settings)


@check_arguments
def checked(
    parameters: Parts, lr: PositiveFloat = 0.1, betas: tuple[Probability, ...] = (0.9, 0.9)
) -> optim.Optimizer:
    """Adam.

    Args:
        lr: learning rate.
        betas: decay rates.
    """
    return adam(parameters, lr=lr, betas=betas)


def checked_by_hand(parameters: Parts, lr: PositiveFloat = 0.1) -> optim.Optimizer:
    """Adam.

    Args:
        lr: learning rate.
    """
    if not lr > 0:
        raise ValueError(f"lr must be positive, got {lr}")
    return adam(parameters, lr=lr)


def unchecked(parameters: Parts, lr: NonNegativeFloat = 0.1) -> optim.Optimizer:
    """Adam.

    Args:
        lr: learning rate.
    """
    return adam(parameters, lr=abs(lr))


def asserted(parameters: Parts, steps: PositiveInt = 1) -> optim.Optimizer:
    """Adam.

    Args:
        steps: not used.
    """
    assert steps > 0
    return adam(parameters, lr=0.1)


def unnamed(parameters: Parts, steps: PositiveInt = 1) -> optim.Optimizer:
    """Adam.

    Args:
        steps: not used.
    """
    if steps < 1:
        raise ValueError("must be positive")
    return adam(parameters, lr=0.1)


@pytest.mark.parametrize("correct", [checked, checked_by_hand])
def test_checked_ranges(correct: Any) -> None:
    report = check("optimizers", correct)
    assert failed(report) == set(), reasons(report)
    (found,) = (one for one in report.properties if one.name == f"test_{PROPERTY}")
    assert found.outcome == "passed"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (unchecked, "called with lr=-1, it raises no error: decorate it with"),
        (asserted, "called with steps=-1, it raises AssertionError"),
        (unnamed, "called with steps=-1, it raises ValueError: must be positive"),
    ],
)
def test_unchecked_ranges(broken: Any, message: str) -> None:
    report = check("optimizers", broken)
    assert failed(report) == {PROPERTY}, reasons(report)
    assert message in reasons(report)


def test_components_without_ranges_are_skipped() -> None:
    def plain(parameters: Parts, lr: float = 0.1) -> optim.Optimizer:
        """Adam.

        Args:
            lr: learning rate.
        """
        return adam(parameters, lr=lr)

    report = check("optimizers", plain)
    (found,) = (one for one in report.properties if one.name == f"test_{PROPERTY}")
    assert found.outcome == "skipped"


@pytest.mark.parametrize(
    "hint",
    [
        PositiveInt,
        Probability,
        Annotated[float, Range(gt=3)],
        Annotated[float, Range(le=-2)],
        PositiveInt | None,
        list[Probability],
        tuple[PositiveInt, ...],
        tuple[int, PositiveInt],
        dict[str, NonNegativeFloat],
        Annotated[list[float], NonEmpty()],
        Annotated[list[Probability], Ascending()],
        list[tuple[Probability, Probability]] | None,
    ],
    ids=str,
)
def test_violating_values(hint: Any) -> None:
    value = violating_value(hint)
    assert value is not None
    assert violation(value, hint)


@pytest.mark.parametrize("hint", [int, str | None, list[float], tuple[int, int], dict[str, int]])
def test_unrestricted_types_have_no_violating_value(hint: Any) -> None:
    assert violating_value(hint) is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Stopped])
def test_an_interrupt_keeps_its_kind(kind: type[KeyboardInterrupt]) -> None:
    """Which decides the exit code; pytest has one for both."""

    def interrupted(parameters: Parts) -> optim.Optimizer:
        raise kind

    with pytest.raises(KeyboardInterrupt) as error:
        check("optimizer", interrupted)
    assert error.type is kind
