"""Gradients of a batch in parts, and their norm."""

import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hieraseg import accumulation
from hieraseg.accumulation import PartTotals, given_totals, mean_over_batch
from hieraseg.data.batches.batch import AnyBatch
from hieraseg.devices import Fabric, MixedPrecision
from hieraseg.recipe import load
from hieraseg.training import gradients
from hieraseg.training.gradients import clip_gradients, compute_gradients
from hieraseg.training.order import run_step
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.step import train_step
from tests.support.runs import QUICKSTART

PLUGIN = """
from torch import nn
from hieraseg import registry

@registry.backbones.register("unnormalized")
class Unnormalized(nn.Module):
    "Without batch normalization, which depends on what else is in a part."

    channels, strides = [8, 12], [4, 8]
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 12, 2, 2)

    def forward(self, image):
        first = self.first(image).relu()
        return [first, self.second(first)]
"""
EXACT = (
    *("bce", "focal", "hxe", "level_consistency", "marginal_ce", "max_constraint", "rmi"),
    *("soft_labels", "tree_min", "weighted_ce"),
)
"""Losses that are means over pixels, with a softmax or a sigmoid."""
SETTINGS = {
    "data": "{name: mannequins, image_size: [32, 32], train_images: 8, val_images: 2}",
    "input": "{size: [32, 32], resize: shorter}",
    # Small scales leave different numbers of valid pixels in each image.
    "augmentation": "{crop: 0, affine: 0, scale: [0.4, 1.5], transforms: [classmix, photometric]}",
    "backbone": "unnormalized",
    "decoder": "linear",
    "loss": f"{{name: sum, losses: [{', '.join(EXACT)}]}}",
    "training.batch_size": "4",
    "training.device": "cpu",
}

Found = tuple[dict[str, Tensor], list[Tensor], dict[str, Tensor]]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gradients") / "gradients_plugin.py"
    file.write_text(PLUGIN)
    return file


def computed(plugin: Path, images: int = 4, **training: object) -> Found:
    """Terms, gradients and counts of the first batch of a run."""
    parts, state, batch = built(plugin, images, **training)
    terms, counts = compute_gradients(parts, state.optimizer, batch, torch.tensor(0.9))
    found = [one.grad for one in state.model.parameters() if one.grad is not None]
    return terms, found, counts


def built(plugin: Path, images: int = 4, **training: object) -> tuple[Parts, State, AnyBatch]:
    """The parts, state and first batch of a run."""
    own = {f"training.{key}": str(value) for key, value in training.items()}
    parts, state = set_up(load(QUICKSTART, list((SETTINGS | own).items()), [plugin]))
    parts.forward.train()
    (batch,) = parts.view.load([run_step(parts, 1, 1, torch.arange(images))])
    return parts, state, batch


def test_parts_have_the_gradients_of_the_whole_batch(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terms and gradients within rounding, counts exactly; also of parts of different size."""
    for images in (4, 3):
        expected = computed(plugin, images)
        parts = computed(plugin, images, accumulate=2)
        torch.testing.assert_close(parts, expected, rtol=1e-4, atol=1e-6)
        assert all(torch.equal(parts[2][key], expected[2][key]) for key in expected[2])
    with monkeypatch.context() as patch:
        patch.setattr(gradients, "part_totals", lambda recorded: [None] * len(recorded))
        means_of_parts = computed(plugin, 3, accumulate=2)
    differences = [(a - b).norm() for a, b in zip(means_of_parts[1], expected[1], strict=True)]
    assert max(differences) > 0.01 * max(one.norm() for one in expected[1])


def test_a_total_of_predictions_is_that_of_the_part() -> None:
    totals = PartTotals(own=torch.tensor([4.0, 0.0]), mean=torch.tensor([10.0, 3.0]))
    with given_totals(totals):
        found = [mean_over_batch(torch.tensor(one)).item() for one in (4, 0.0, 5, 0)]
    assert found == [10, 3, 5, 3]  # the third is none that depends on targets alone
    assert mean_over_batch(torch.tensor(4)).item() == 4
    assert vars(accumulation._CURRENT).get("given") is None


class _Kept:
    """A tensor that autograd keeps, as long as this object is there."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Memory:
    """Bytes that autograd keeps for the backward pass, and the most that it has kept."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> _Kept:
        kept, size = _Kept(tensor), tensor.nbytes
        self._add(size)
        weakref.finalize(kept, self._add, -size)
        return kept

    def _add(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


def test_memory_is_that_of_one_part(plugin: Path) -> None:
    most = {}
    for number in (1, 2, 4):
        memory, (parts, state, batch) = _Memory(), built(plugin, accumulate=number)
        with torch.autograd.graph.saved_tensors_hooks(memory.pack, lambda kept: kept.tensor):
            compute_gradients(parts, state.optimizer, batch, torch.tensor(0.9))
        most[number] = memory.most
        assert memory.now == 0
    assert most[2] < 0.55 * most[1]
    assert most[4] < 0.3 * most[1]


def optimizer_with(*values: list[float]) -> torch.optim.SGD:
    """An optimizer of weights with these gradients."""
    weights = [nn.Parameter(torch.zeros(len(value))) for value in values]
    for weight, value in zip(weights, values, strict=True):
        weight.grad = torch.tensor(value)
    return torch.optim.SGD(weights)


@pytest.fixture(scope="module")
def parts(plugin: Path) -> Parts:
    return built(plugin)[0]


def clipped(
    parts: Parts, optimizer: torch.optim.SGD, largest: float | None
) -> tuple[float | None, list[list[float]]]:
    """The norm of the gradients, and what is left of them."""
    training = replace(parts.recipe.training, clip_norm=largest)
    parts = replace(parts, recipe=replace(parts.recipe, training=training))
    norm = clip_gradients(parts, optimizer)
    weights = optimizer.param_groups[0]["params"]
    return None if norm is None else norm.item(), [one.grad.tolist() for one in weights]


def close(values: Iterable[list[float]]) -> list[object]:
    return [pytest.approx(one, rel=1e-6) for one in values]


@pytest.mark.parametrize(
    ("largest", "norm", "gradients"),
    [
        (1.0, 5, [[0.6, 0.0], [0.8]]),
        (10.0, 5, [[3.0, 0.0], [4.0]]),
        (None, None, [[3.0, 0.0], [4.0]]),
    ],
)
def test_gradients_are_clipped_by_their_common_norm(
    largest: float | None, norm: int | None, gradients: list[list[float]], parts: Parts
) -> None:
    """The norm of (3, 0, 4) is 5."""
    optimizer = optimizer_with([3.0, 0.0], [4.0])
    assert clipped(parts, optimizer, largest) == (norm, close(gradients))


def test_scaled_gradients_are_unscaled_before_they_are_clipped(parts: Parts) -> None:
    """As those of 16-mixed are."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024)
    scaler.scale(torch.ones(()))  # it has a scale only after its first loss
    fabric = Fabric(accelerator="cpu", plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    optimizer = optimizer_with([1024 * 3.0, 1024 * 4.0])
    assert clipped(replace(parts, fabric=fabric), optimizer, 1) == (5, close([[0.6, 0.8]]))


def test_norms_are_recorded_before_they_are_clipped(plugin: Path) -> None:
    _, gradients, _ = computed(plugin)
    norm = torch.cat([one.flatten() for one in gradients]).norm().item()
    parts, state, batch = built(plugin, clip_norm=1e-6)  # the weights hardly change
    for _ in range(2):
        train_step(parts, state, batch)
    assert state.totals.norm_record() == pytest.approx({"mean": norm, "max": norm}, rel=1e-2)
