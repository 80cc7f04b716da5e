"""Keys of earlier versions: each gets one sentence that says what to write now."""

from pathlib import Path

import pytest

from hieraseg.errors import RecipeError
from hieraseg.recipe import load

PLUGIN = """\
from collections.abc import Sequence
from hieraseg import Dataset, registry

@registry.datasets.register("sized")
class Sized:
    def __init__(self, size: tuple[int, int] = (8, 8)) -> None: ...

@registry.datasets.register("joined")
class Joined:
    def __init__(self, datasets: Sequence[Dataset]) -> None: ...
"""
RECIPE = """\
base: quickstart
plugins: [data.py]
"""
SIZE = "is input.size now, as in `input: {size: [224, 224]}`"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data.py").write_text(PLUGIN)
    return tmp_path / "r.yaml"


def problems(path: Path, text: str, *overrides: tuple[str, str]) -> list[str]:
    path.write_text(RECIPE + text)
    with pytest.raises(RecipeError) as caught:
        load(path, overrides)
    return str(caught.value).replace(f"{path}:", "").splitlines()


def test_size_of_the_data(path: Path) -> None:
    text = "data: {name: mannequins, size: [64, 64]}"
    assert problems(path, text) == [f"3: data.size: {SIZE}"]
    assert problems(path, "", ("data.size", "64")) == [f"command line: data.size: {SIZE}"]


def test_size_of_joined_data(path: Path) -> None:
    members = "[mannequins, {name: mannequins, size: 64}, {name: sized, size: [4, 6]}]"
    text = f"data: {{name: joined, datasets: {members}}}"
    assert problems(path, text) == [f"3: data.datasets[1].size: {SIZE}"]


def test_a_data_set_with_an_argument_size_keeps_it(path: Path) -> None:
    path.write_text(RECIPE + "data: {name: sized, size: [4, 6]}")
    assert load(path)["data"].arguments == {"size": (4, 6)}


@pytest.mark.parametrize(
    ("key", "transform"),
    [
        ("photometric", "{name: photometric, probability: 0.5}"),
        ("noise", "{name: photometric, noise: 0.05}"),
        ("blur", "{name: blur, probability: 0.5}"),
        ("blur_sigma", "{name: blur, sigma: [0.1, 1.5]}"),
    ],
)
def test_keys_of_transforms(key: str, transform: str, path: Path) -> None:
    said = f"belongs to a transform now, as in `transforms: [{transform}]`"
    found = problems(path, f"augmentation: {{{key}: 0}}")
    assert found == [f"3: augmentation.{key}: {said}"]
    found = problems(path, "", (f"augmentation.{key}", "0"))
    assert found == [f"command line: augmentation.{key}: {said}"]
    path.write_text(f"{RECIPE}augmentation: {{transforms: [{transform}]}}")
    assert load(path)


def test_scale_as_one_number(path: Path) -> None:
    said = (
        "augmentation.scale: expected an ascending list [positive float, positive float], got "
        "0.15; a change by up to 0.15 is [0.85, 1.15] now"
    )
    assert problems(path, "augmentation: {scale: 0.15}") == [f"3: {said}"]
    found = problems(path, "", ("augmentation.scale", "0.15"))
    assert found == [f"command line: {said}"]
    (found,) = problems(path, "augmentation: {scale: 2}")
    assert found.endswith("got 2")
