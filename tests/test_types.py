"""Restricted types: what they accept, say and put into a schema."""

from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hieraseg.errors import RecipeError
from hieraseg.recipe.arguments import arguments_of
from hieraseg.types import (
    ArgumentError,
    Ascending,
    Having,
    NonEmpty,
    NonNegativeFloat,
    Pattern,
    PositiveFloat,
    PositiveInt,
    Probability,
    Range,
    check_arguments,
    plain_type,
    violation,
)

Share = Annotated[tuple[Probability, Probability], Ascending()]


@check_arguments
def resize(
    size: tuple[PositiveInt, PositiveInt],
    scale: PositiveFloat = 1.0,
    weights: list[NonNegativeFloat] | None = None,
    share: Share = (0.0, 1.0),
    names: Annotated[list[str], NonEmpty()] = ["a"],  # noqa: B006
    by_name: dict[str, Probability] = {},  # noqa: B006
    either: PositiveInt | str = 1,
    when: Probability | Annotated[str, Pattern(r"\d+ steps", "a number of steps")] = 1.0,
) -> float:
    """A function with arguments of every restricted type."""
    return scale


@check_arguments
class Window:
    """A class with a restricted argument."""

    def __init__(self, size: PositiveInt, overlap: Annotated[float, Range(ge=0, lt=1)] = 0.5):
        self.size, self.overlap = size, overlap


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 4)}, "size must be positive, got 0 at [0]"),
        ({"scale": 0.0}, "scale must be positive, got 0.0"),
        ({"scale": float("nan")}, "scale must be finite and positive, got nan"),
        ({"scale": float("inf")}, "scale must be finite and positive, got inf"),
        ({"weights": [1, -2]}, "weights must be non-negative, got -2 at [1]"),
        ({"share": (0.5, 0.2)}, "share must be ascending, got (0.5, 0.2)"),
        ({"share": (0.5, 2)}, "share must be in [0, 1], got 2 at [1]"),
        ({"names": []}, "names must be non-empty, got []"),
        ({"by_name": {"a": 1.5}}, "by_name must be in [0, 1], got 1.5 at ['a']"),
        ({"either": 0}, "either must be positive, got 0"),
        ({"when": float("inf")}, "when must be finite and in [0, 1] or a number of steps, got inf"),
        (
            {"by_name": {"a": float("nan")}},
            "by_name must be finite and in [0, 1], got nan at ['a']",
        ),
        ({"when": 2}, "when must be in [0, 1] or a number of steps, got 2"),
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        resize(**{"size": (4, 4), **arguments})
    assert str(caught.value) == message
    assert caught.value.argument == next(iter(arguments))
    assert isinstance(caught.value, ValueError)


def test_values_in_range_are_passed_on() -> None:
    assert resize((1, 2), 0.5, None, (0.2, 0.2), ["b"], {"a": 0, "b": 1}, "x") == 0.5
    assert Window(3).overlap == 0.5
    assert Window(overlap=0, size=1).size == 1


def test_classes_are_checked_by_position_too() -> None:
    with pytest.raises(ArgumentError, match=r"overlap must be in \[0, 1\), got 1"):
        Window(3, 1)
    with pytest.raises(TypeError, match="missing"):
        Window()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("limits", "phrase"),
    [
        (Range(gt=0), "positive"),
        (Range(ge=0), "non-negative"),
        (Range(ge=32), "at least 32"),
        (Range(gt=0.5), "above 0.5"),
        (Range(le=3), "at most 3"),
        (Range(lt=3), "below 3"),
        (Range(ge=0, lt=2**32), "in [0, 4294967296)"),
        (Range(gt=0, le=16), "in (0, 16]"),
        (Range(), "finite"),
    ],
)
def test_a_range_says_its_bounds(limits: Range, phrase: str) -> None:
    assert limits.phrase == phrase


@given(
    st.floats(-3, 3), st.floats(0, 3), st.sampled_from(["ge", "gt"]), st.sampled_from(["le", "lt"]),
    st.floats(-7, 7),
)  # fmt: skip
def test_a_range_accepts_what_its_schema_does(
    low: float, width: float, lower: str, upper: str, value: float
) -> None:
    limits = Range(**{lower: low, upper: low + width})
    schema = limits.schema()
    above = value >= schema.get("minimum", value) and value > schema.get("exclusiveMinimum", -9)
    below = value <= schema.get("maximum", value) and value < schema.get("exclusiveMaximum", 99)
    assert limits.accepts(value) == (above and below)


@pytest.mark.parametrize("value", ["x", None, {"a": 1}, object()])
def test_values_of_another_type_are_for_others_to_find(value: Any) -> None:
    for hint in (PositiveInt, Share, Annotated[list[int], NonEmpty()] | None):
        assert violation(value, hint) == "" or isinstance(value, dict | str)


def test_the_plain_type_has_no_metadata() -> None:
    assert plain_type(Share | None) == (tuple[float, float] | None)
    assert plain_type(dict[str, list[PositiveInt]]) == dict[str, list[int]]


def test_ints_may_be_too_large_for_a_float() -> None:
    assert violation(10**400, PositiveFloat) == ""
    assert violation(-(10**400), PositiveFloat).startswith("must be positive, got -1000")


def test_a_literal_beside_a_range_is_accepted() -> None:
    hint = PositiveInt | Literal[-1, "auto"]
    assert violation(-1, hint) == violation("auto", hint) == violation(3, hint) == ""
    assert violation(-2, hint) == "must be positive, got -2"


@pytest.mark.parametrize("value", [np.float32(-1), np.int64(-1), -1])
def test_numbers_of_numpy_are_checked(value: Any) -> None:
    assert violation(value, PositiveFloat).startswith("must be positive, got ")
    assert violation(value, PositiveFloat | None).startswith("must be positive, got ")


def test_a_class_without_constructor_is_left_as_it_is() -> None:
    class Plain:
        """Without arguments."""

    assert check_arguments(Plain).__init__ is object.__init__
    assert arguments_of(check_arguments(Plain)) == {}


def test_components_without_an_attribute_are_refused_by_the_name_of_their_class() -> None:
    class Slow(nn.Module):
        fast = False

    outer = Slow()
    outer.inner = nn.Identity()
    hint = Annotated[nn.Module, Having("fast")]
    for component in (Slow, Slow(), outer):
        assert violation(component, hint) == "must be fast, got Slow"
    assert violation(nn.Identity(), hint) == ""


def test_misused_metadata_is_one_sentence() -> None:
    def forgotten(width: Annotated[int, Range] = 1) -> None: ...

    class Picky:
        phrase = "picky"

        def accepts(self, value: Any) -> bool:
            raise KeyError(value)

        def schema(self) -> dict[str, Any]:
            return {}

    def raising(width: Annotated[int, Picky()] = 1) -> None: ...

    with pytest.raises(RecipeError, match=r"has the class Range: call it, as in Range\(ge=0\)"):
        arguments_of(forgotten)
    with pytest.raises(RecipeError, match="default of its argument 'width': 1 cannot be checked"):
        arguments_of(raising)
