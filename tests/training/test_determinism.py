"""Deterministic algorithms. What they are on CUDA is torch's; here is what a run asks for."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hieraseg import registry
from hieraseg.cli import main
from hieraseg.metrics import SplitCounts
from hieraseg.metrics.scoring import score_split
from hieraseg.recipe import load
from hieraseg.training.determinism import deterministic_algorithms
from hieraseg.training.order import run_step
from hieraseg.training.setup import set_up
from hieraseg.training.step import train_step
from tests.support.runs import QUICKSTART, SMALL

PLUGIN = """
import torch
from hieraseg import Loss, registry

@registry.losses.register("random_sum")
class RandomSum(Loss):
    "Fails as operations of torch do that have no deterministic algorithm."

    def forward(self, prediction, targets):
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError(
                "random_sum_cuda does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'. You can turn off determinism"
            )
        return {"sum": prediction.logits[0].mean()}
"""
# That raise an error on CUDA, by the documentation of torch.use_deterministic_algorithms. Bilinear
# interpolation is not among them: torch then computes it otherwise.
MISSING = (
    *("adaptive_avg_pool2d_backward", "adaptive_avg_pool3d_backward", "avg_pool3d_backward"),
    *("adaptive_max_pool2d_backward", "fractional_max_pool2d_backward", "max_unpool"),
    *("upsample_linear1d_backward", "upsample_bicubic2d_backward", "reflection_pad2d_backward"),
    *("nll_loss", "ctc_loss_backward", "histc", "bincount", "median", "kthvalue"),
    *("grid_sampler_2d_backward", "grid_sampler_3d_backward"),
)
LOSSES = {name: name for name in registry.losses.names() if name != "sum"}
LOSSES |= {"tree_triplet": "{name: tree_triplet, samples: 20}", "ohem": "{name: ohem, loss: bce}"}


def flags() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


def test_flags_are_set_inside_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = flags()
    with deterministic_algorithms(False):
        assert flags() == before
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with deterministic_algorithms(True):
        assert flags() == (True, True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert flags() == before
    with pytest.raises(RuntimeError, match="another"), deterministic_algorithms(True):
        raise RuntimeError("another")
    assert flags() == before


def test_an_operation_without_one_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "random_sum_plugin.py"
    plugin.write_text(PLUGIN)
    options = ("--plugin", str(plugin), "--loss", "random_sum", "--training.deterministic", "true")
    assert main(["run", QUICKSTART, *SMALL, *options, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert (
        "training.deterministic: random_sum_cuda has no deterministic algorithm on this device; "
        "set it to false, or use components without this operation" in error
    )
    assert "Traceback" not in error
    assert not torch.are_deterministic_algorithms_enabled()


class _Operations(TorchDispatchMode):
    """Names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


def test_no_step_or_score_of_ours_needs_one_that_torch_does_not_have() -> None:
    names = [option.removeprefix("--") for option in SMALL[::2]]
    changes = {
        "loss": f"{{name: sum, losses: [{', '.join(LOSSES.values())}]}}",
        "augmentation.transforms": f"[{', '.join(registry.transforms.names())}]",
        "training.device": "cpu",
    }
    recipe = load(QUICKSTART, [*zip(names, SMALL[1::2], strict=True), *changes.items()])
    found = []
    with deterministic_algorithms(True):
        for _ in range(2):
            parts, state = set_up(recipe)
            parts.forward.train()
            (batch,) = parts.view.load([run_step(parts, 1, 1, torch.arange(4))])
            with _Operations() as operations:
                train_step(parts, state, batch)
                split = parts.fabric, parts.segmenter, parts.targets, parts.stores["val"]
                score_split(*split, SplitCounts)
            found.append(state.model.state_dict())
    assert len(operations.names) > 100
    assert not {one for one in operations.names if one.lstrip("_").startswith(MISSING)}
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_the_list_of_operations_finds_them() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    with _Operations() as operations:
        torch.nn.functional.cross_entropy(logits, torch.zeros(1, 3, 3, dtype=torch.int64))
        torch.nn.functional.adaptive_avg_pool2d(logits, 2).sum().backward()
    found = {one for one in operations.names if one.lstrip("_").startswith(MISSING)}
    assert found == {"nll_loss2d_forward", "_adaptive_avg_pool2d_backward"}
