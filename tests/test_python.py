"""The examples of docs/python.md."""

import re
from pathlib import Path

import catalogue
import numpy as np
import pytest
from PIL import Image

TEXT = (Path(__file__).parents[1] / "docs/python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"## (.*?)\n.*?```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def place(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a quickstart run and a photo."""
    (tmp_path / "runs/quickstart").mkdir(parents=True)
    (tmp_path / "runs/quickstart/base-seed0").symlink_to(trained_run)
    pixels = np.random.default_rng(0).integers(0, 255, (50, 71, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_section_has_an_example() -> None:
    assert len(EXAMPLES) == TEXT.count("\n## ") == TEXT.count("```python")


@pytest.mark.parametrize(("title", "example"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_examples(title: str, example: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "REGISTRY", dict(catalogue.REGISTRY))
    for _ in range(2 if "register" in example else 1):  # a cell may run again
        exec(compile(example, title, "exec"), {"__name__": "__main__"})
    if "overlay" in example:
        assert Image.open(place / "overlay.png").size == (71, 50)
        assert (place / "figure.png").is_file()
