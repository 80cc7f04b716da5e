"""Values that are valid on their own, but not together."""

from pathlib import Path

import pytest

from hieraseg.cli import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            "input: {resize: shorter}\naugmentation: {scale: [0.5, 2],\n  crop: 0.2}",
            "4: augmentation.crop: needs input.resize: stretch, but it is shorter, which always "
            "takes a crop of input.size; set it to 0",
        ),
        (
            "augmentation:\n  crop: 0\n  crop_tries: 10",
            "4: augmentation.crop_tries: has no effect with input.resize: stretch; set it to 1, "
            "or set input.resize to shorter, longer or none",
        ),
    ],
)
def test_augmentation_that_does_not_go_with_the_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], section: str, line: str
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"base: {ROOT}/recipes/quickstart.yaml\n{section}\n")
    assert main(["validate", str(recipe)]) == 2
    printed = "".join(capsys.readouterr())
    assert f"{recipe}:{line}" in " ".join(printed.split())


def test_crops_of_images_that_keep_their_aspect_ratio(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    base = f"base: {ROOT}/recipes/quickstart.yaml\n"
    recipe.write_text(
        f"{base}input: {{resize: longer}}\naugmentation: {{crop: 0, crop_tries: 10}}\n"
    )
    assert main(["validate", str(recipe)]) == 0
