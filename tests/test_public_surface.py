"""The names that plugins import: typed for checkers and editors, and free of torch at import."""

import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

import hieraseg

ROOT = Path(__file__).parents[1]
PLUGIN = """\
from collections.abc import Sequence

from hieraseg import IGNORE_INDEX, Backbone, Hierarchy, InferenceRule, Loss, Prediction, registry
from torch import Tensor

reveal_type(Hierarchy)
reveal_type(IGNORE_INDEX)


class WrongTargets(Loss):
    def forward(self, prediction: Prediction, targets: str) -> dict[str, Tensor]:
        return {}


class WrongRule:
    def __call__(self, scores: Sequence[Tensor]) -> str:
        return ""


def misuse(hierarchy: Hierarchy) -> InferenceRule:
    hierarchy.levels_of_names
    Prediction(logits=3)
    return WrongRule()


def right(hierarchy: Hierarchy, backbone: Backbone) -> list[int]:
    registry.losses.get("tree_min")(hierarchy=hierarchy)
    return backbone.channels


def notebook(images: Tensor, targets: Tensor) -> list[str]:
    from hieraseg import Scores, build, load

    parts = build("quickstart", {"optimizer.lr": 1e-3})
    Scores(parts.hierarchy).update(parts.classes(parts.model(images)), targets)
    return load("runs/quickstart/base-seed0").predict("photo.jpg").level(1).names


def misread() -> int:
    from hieraseg import load

    return load("run").predict("photo.jpg").classes
"""
COMPLAINTS = {
    6: 'Revealed type is "def (',
    7: 'Revealed type is "',
    11: 'Argument 2 of "forward" is incompatible with supertype "hieraseg.contracts.Loss"',
    21: '"Hierarchy" has no attribute "levels_of_names"',
    22: 'Argument "logits" to "Prediction" has incompatible type "int"',
    23: 'Incompatible return value type (got "WrongRule", expected "InferenceRule")',
    42: 'Incompatible return value type (got "ndarray',
}


@pytest.mark.slow
def test_mypy_knows_the_contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "my_plugin.py"
    plugin.write_text(PLUGIN)
    # With the project's own settings, so that mypy's cache serves `make lint` as well.
    monkeypatch.chdir(ROOT)
    out, err, _ = api.run([str(plugin), "--no-error-summary", "--hide-error-context"])
    assert not err
    lines = [line.split("my_plugin.py:")[1] for line in out.splitlines() if "my_plugin.py:" in line]
    for number, complaint in COMPLAINTS.items():
        assert any(line.startswith(f"{number}: ") and complaint in line for line in lines), out
    errors = {int(line.split(":")[0]) for line in lines if "error:" in line}
    assert errors == COMPLAINTS.keys() - {6, 7}, out
    assert "int" in next(line for line in lines if line.startswith("7: "))
    assert "hieraseg.hierarchy.tree.Hierarchy" in out


def test_every_exported_name_can_be_imported() -> None:
    for name in hieraseg.__all__:
        assert getattr(hieraseg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Los'"):
        _ = hieraseg.Los


@pytest.mark.parametrize(
    "statement",
    ["import hieraseg", "from hieraseg import registry; registry.losses.names()"],
)
def test_importing_loads_no_torch(statement: str) -> None:
    code = f"{statement}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_commands_answer_without_torch() -> None:
    code = "import sys; from hieraseg.cli import main; main(['list'])"
    code = f"{code}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "tree_min" in done.stdout
