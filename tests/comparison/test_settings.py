"""Which settings a comparison shows: those that differ, and say what a row is."""

from typing import Any

from hieraseg.comparison.rows import Row
from hieraseg.comparison.settings import CODE, DATA, with_settings
from tests.support.rows import make_row

TREE_MIN: dict[str, Any] = {"name": "tree_min", "gamma": 0.0, "level_weights": None}
FLAT: dict[str, Any] = {"name": "ce", "level_weights": [1.0]}


def recipe(**sections: Any) -> dict[str, Any]:
    """A resolved recipe with some sections changed."""
    training = {"epochs": 3, "seed": 0, "device": "auto"}
    data = {"name": "folder", "root": "/data"}
    return {"loss": TREE_MIN, "data": data, "training": training, **sections}


def settings(*recipes: dict[str, Any]) -> list[dict[str, str]]:
    rows = [make_row(str(index), recipe=one) for index, one in enumerate(recipes)]
    return [dict(row.settings) for row in with_settings(rows)]


def test_only_what_differs_is_shown() -> None:
    other = recipe(training={"epochs": 5, "seed": 0, "device": "auto"})
    assert settings(recipe(), other) == [{"training.epochs": "3"}, {"training.epochs": "5"}]
    assert settings(recipe(), recipe()) == [{}, {}]


def test_where_things_are_is_no_setting() -> None:
    other = recipe(
        data={"name": "folder", "root": "/other"},
        training={"epochs": 3, "seed": 1, "device": "cpu"},
        logging={"images": 3},
    )
    assert settings(recipe(logging={"images": 4}), other) == [{}, {}]


def test_arguments_are_compared_between_rows_with_the_component() -> None:
    """Level weights differ only because the losses do; gamma differs between two of one loss."""
    focused = recipe(loss={**TREE_MIN, "gamma": 2.0})
    assert settings(recipe(), recipe(loss=FLAT)) == [{"loss": "tree_min"}, {"loss": "ce"}]
    assert settings(recipe(), focused, recipe(loss=FLAT)) == [
        {"loss": "tree_min", "loss.gamma": "0.0"},
        {"loss": "tree_min", "loss.gamma": "2.0"},
        {"loss": "ce"},
    ]


def test_components_inside_others() -> None:
    """A second component that a row lacks is shown; those of a component that it lacks are not."""

    def total(*losses: dict[str, Any]) -> dict[str, Any]:
        return recipe(loss={"name": "sum", "losses": list(losses)})

    assert settings(total(FLAT), total(TREE_MIN)) == [
        {"loss.losses[0]": "ce"},
        {"loss.losses[0]": "tree_min"},
    ]
    assert settings(total(FLAT), total(FLAT, TREE_MIN)) == [{}, {"loss.losses[1]": "tree_min"}]
    assert settings(total(FLAT), recipe()) == [{"loss": "sum"}, {"loss": "tree_min"}]


def test_a_key_that_older_versions_lack_is_no_difference() -> None:
    newer = recipe(training={"epochs": 3, "capture": "auto"})
    assert settings(recipe(), newer) == [{}, {}]
    assert settings(recipe(), recipe(model={"name": "whole"}))[1] == {"model": "whole"}


def test_settings_of_a_section_follow_each_other() -> None:
    focused = recipe(loss={**TREE_MIN, "gamma": 2.0}, training={"epochs": 5})
    (first, *_) = settings(recipe(), focused, recipe(loss=FLAT))
    assert list(first) == ["loss", "loss.gamma", "training.epochs"]


def digests(*provenances: dict[str, Any], recipes: Any = None) -> list[dict[str, str]]:
    given = recipes or [recipe()] * len(provenances)
    rows: list[Row] = [
        make_row(str(index), provenance=one, recipe=of)
        for index, (one, of) in enumerate(zip(provenances, given, strict=True))
    ]
    return [dict(row.settings) for row in with_settings(rows)]


def test_rows_of_other_code_or_data_say_so() -> None:
    code = [{"code": {"sources": sources}} for sources in ("a", "b", "a")]
    first, second, third = digests(*code)
    assert set(first) == {CODE}
    assert first == third != second
    first, second = digests({"data": {"val": "a"}}, {"data": {"val": "b"}})
    assert set(first) == {DATA}
    assert first != second
    assert digests({"data": {"val": "a"}}, {"data": {"val": "a"}}) == [{}, {}]


def test_other_components_and_data_sets_are_no_other_code_or_data() -> None:
    """They are settings that differ anyway."""

    def record(loss: str, train: str) -> dict[str, Any]:
        plugins = {"loss": [{"name": loss, "sources": f"source of {loss}"}]}
        return {"code": {"sources": "a"}, "plugins": plugins, "data": {"train": train}}

    shown = digests(
        record("tree_min", "x"),
        record("ce", "y"),
        recipes=[recipe(), recipe(loss=FLAT, data={"name": "other", "root": "/data"})],
    )
    assert shown == [{"loss": "tree_min", "data": "folder"}, {"loss": "ce", "data": "other"}]
