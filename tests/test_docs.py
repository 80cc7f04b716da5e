"""What README and docs show is what the code does."""

import doctest
import re
from pathlib import Path

import pytest

from hieraseg.cli import main

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_examples_in_documents(path: Path) -> None:
    found = doctest.testfile(str(path), module_relative=False)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_plugin_of_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(block.splitlines()) < 20
    file = tmp_path / "leaf_only.py"
    file.write_text(block)
    plugin = ["--plugin", str(file)]
    assert main(["check", "loss", "leaf_only", *plugin]) == 0, capsys.readouterr().out
    words = ["--data.size", "[64, 64]", "--data.train_images", "4", "--data.val_images", "2"]
    words += ["--backbone.weights", "null", "--training.batch_size", "2", "--loss", "leaf_only"]
    assert main(["validate", "quickstart", "--build", *plugin, *words]) == 0
    assert "quickstart: ok; one step on the CPU" in capsys.readouterr().out
