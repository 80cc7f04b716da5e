"""Names of runs: short, safe in paths, and different for different overrides."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.sweeps.names import run_name

RECIPE = {
    "data": {"name": "photos", "root": "data"},
    "input": {"size": [8, 8]},
    "decoder": {"name": "skip", "width": 96},
    "loss": {"name": "focal", "width": 1, "gamma": 2.0, "losses": [{"name": "dice"}]},
    "training": {"epochs": 5, "batch_size": 16, "seed": 0},
    "evaluation": {"batch_size": 16, "scales": [1.0]},
    "logging": {"images": 4},
}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "base"),
        ([("training.epochs", "3"), ("loss.gamma", "1e-3")], "epochs=3,gamma=1e-3"),
        ([("loss", "focal")], "loss=focal"),
        ([("loss.name", "focal")], "loss=focal"),
        ([("loss", "{name: focal, gamma: 1.5}")], "loss=focal,gamma=1.5"),
        ([("loss.gamma", "null")], "gamma=null"),
        ([("input.size", "[224, 224]")], "size=224,224"),
        ([("evaluation.scales", "[0.5, 1]")], "scales=0.5,1"),
        ([("training.epochs", "3"), ("training.epochs", "4")], "epochs=4"),
        # Two sections have this key.
        ([("training.batch_size", "2")], "training.batch_size=2"),
        ([("loss.width", "1"), ("decoder.width", "2")], "loss.width=1,decoder.width=2"),
        # These do not change what is trained.
        ([("training.seed", "1"), ("training.device", "cpu"), ("data.root", "x")], "base"),
        ([("logging.images", "0")], "base"),
    ],
)
def test_names(overrides: list[tuple[str, str]], expected: str) -> None:
    assert run_name(overrides, RECIPE) == expected


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ("/data/trees/parts.yaml", "gamma=parts.yaml~"),
        ("../a b", "gamma=a_b~"),
        ("'1'", "gamma=1~"),  # a string, not the number
        ("[{name: dice}, {name: focal}]", "gamma="),
        ("x" * 300, "gamma=xxxxxxxxxxxx"),
    ],
)
def test_values_that_are_shortened(value: str, start: str) -> None:
    """They end in a hash, so that other values have other names."""
    name = run_name([("loss.gamma", value)], RECIPE)
    assert name.startswith(start)
    assert re.fullmatch(r"gamma=[\w.+-]*~[0-9a-f]{6}", name)
    assert len(name) < 50


def test_long_names_keep_whole_overrides() -> None:
    overrides = [(f"loss.argument_{index}", str(index)) for index in range(12)]
    name = run_name(overrides, RECIPE)
    assert re.fullmatch(r"(argument_\d=\d,)+\d+more~[0-9a-f]{6}", name)
    assert len(name) <= 80
    overrides[-1] = ("loss.argument_11", "other")
    assert run_name(overrides, RECIPE) != name


VALUES = st.one_of(
    st.integers().map(str),
    st.text(alphabet="ab/ .,=~é世_-", max_size=40).map(lambda text: "'" + text + "'"),
    st.lists(st.sampled_from(["a", "b", "1"]), min_size=2, max_size=3).map(
        lambda items: f"[{', '.join(items)}]"
    ),
)
KEYS = ("loss.gamma", "loss.width", "decoder.width", "training.epochs", "evaluation.batch_size")
OVERRIDES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)


@given(OVERRIDES, OVERRIDES)
def test_different_overrides_have_different_names(
    one: dict[str, str], other: dict[str, str]
) -> None:
    """And each name is a single short part of a path."""
    names = [run_name(sorted(overrides.items()), RECIPE) for overrides in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    for name in names:
        assert re.fullmatch(r"[\w.,=~+-]+", name)
        assert len(os.fsencode(name)) <= 80
