"""A training step is a function of tensors on the device, so that it can be captured and compiled.

The step runs on tensors without data, on a CPU and, forward only, on CUDA, which need not exist;
operations that a capture cannot have raise an error (see `hieraseg.testing.capturing`).
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from hieraseg import registry
from hieraseg.contracts import Activation, Prediction, has_argument
from hieraseg.data.batches import views
from hieraseg.data.batches.batch import AnyBatch, map_tensors
from hieraseg.inference.segmenter import Segmenter
from hieraseg.recipe import load
from hieraseg.testing.capturing import CUDA, NotCapturable, assert_capturable, on_fake_tensors
from hieraseg.testing.cases import MAIN_TREE, random_logits
from hieraseg.training.capturing import capture_problems
from hieraseg.training.forward import TrainingForward
from hieraseg.training.order import run_step
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.step import StepInputs, compute_step, step_inputs, train_step
from tests.support.runs import QUICKSTART, ROOT

PLUGIN = """
from torch import nn
from hieraseg import Loss, registry

@registry.backbones.register("shallow")
class Shallow(nn.Module):
    "Two convolutions, since tracing takes a while for each layer."

    channels, strides = [8, 12], [4, 8]
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 12, 2, 2)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, image):
        first = self.norm(self.first(image)).relu()
        return [first, self.second(first)]

@registry.losses.register("silent")
class Silent(Loss):
    "Reads its own value."

    def forward(self, prediction, targets):
        value = sum(one.square().mean() for one in prediction.logits)
        return {"value": value * (2 if value > 1 else 1)}

@registry.losses.register("reads")
class Reads(Silent):
    "Reads its own value, and says so."

    capturable, capturable_reason = False, "reads its own value"
"""
TINY = [
    ("data", "{name: mannequins, image_size: [32, 32], train_images: 12, val_images: 4}"),
    ("input.size", "[32, 32]"),
    ("training.batch_size", "4"),
    ("training.device", "cpu"),
]
SHALLOW = [("backbone", "shallow"), ("decoder.width", "8")]
CROPS = [
    *SHALLOW,
    ("input.resize", "shorter"),
    ("augmentation", "{crop: 0, affine: 0, rotate: 0, shift: 0, scale: [0.5, 2.0], flip: 0.5}"),
]
LOSSES = {name: name for name in registry.losses.names() if name != "sum"}
LOSSES["ohem"] = "{name: ohem, loss: bce}"
LOSSES["tree_triplet"] = "{name: tree_triplet, samples: 20}"
PARTS = "in parts, clipped and averaged, on the device"
EVERY = "every loss and transform"
"""Slow: the contract suites capture each of them alone."""
CASES = {
    EVERY: [
        *SHALLOW,
        ("loss", f"{{name: sum, losses: [{', '.join(LOSSES.values())}]}}"),
        ("augmentation.transforms", f"[{', '.join(registry.transforms.names())}]"),
    ],
    "stretched, with an auxiliary head, on the device": [
        *SHALLOW,
        ("auxiliary.stage", "2"),
        ("augmentation.transforms", "[classmix, photometric]"),
    ],
    "crops": [*CROPS, ("optimizer", "sgd")],
    "crops on the device": CROPS,
    PARTS: [
        *CROPS,
        ("auxiliary.stage", "2"),
        ("training.accumulate", "2"),
        ("training.clip_norm", "0.1"),
        ("training.ema", "0.9"),
    ],
}
COMPILED = pytest.mark.skipif(
    "tests.support.shapes" in sys.modules,
    reason="run by test_compiled: torch.compile cannot trace the checks of shapes",
)
# Those that ship: other tests register their own. Two of them have all that the others have but
# the linear decoder, which has its contract suite.
FAST_MODELS = [("efficientnet_lite", "hyperbolic"), ("resnet50", "skip")]
MODELS = [
    pytest.param(*names, marks=[] if names in FAST_MODELS else pytest.mark.slow)
    for names in product(("efficientnet_lite", "resnet50"), ("hyperbolic", "linear", "skip"))
]

Built = tuple[Parts, State, list[AnyBatch]]
Build = Callable[..., Built]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("capture") / "capture_plugin.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, plugin: Path) -> Build:
    """Builds the parts of a recipe, and the batches of its first steps."""

    def build(overrides: Iterable[tuple[str, str]], on_device: bool = False) -> Built:
        monkeypatch.setattr(views, "fits", lambda store, levels, device: on_device)
        parts, state = set_up(load(QUICKSTART, [*TINY, *overrides], [plugin]))
        parts.forward.train()
        steps = [run_step(parts, 1, k + 1, torch.arange(4) + k) for k in range(3)]
        return parts, state, list(parts.view.load(steps))

    return build


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] * (one == EVERY)) for one in CASES]
)
def test_step_can_be_captured(name: str, build: Build) -> None:
    parts, state, batches = build(CASES[name], on_device=name.endswith("on the device"))
    inputs = assert_step_can_be_captured(parts, state, batches)
    with on_fake_tensors(copies=True) as allowed:
        forward = on_cuda(parts)
        batch, progress, *_ = mapped(lambda one: allowed.fake(one, CUDA), inputs)
        forward(batch, progress)  # copies tables to the device, as the first steps do
        allowed.copies = False
        terms, counts = forward(batch, progress)
    assert {one.device.type for one in [*terms.values(), *counts.values()]} == {"cuda"}


@pytest.mark.parametrize(("backbone", "decoder"), MODELS)
def test_step_of_every_model_can_be_captured(backbone: str, decoder: str, build: Build) -> None:
    """The contract suites run each of them on CUDA, too."""
    overrides = [("backbone", f"{{name: {backbone}, weights: null}}"), ("decoder", decoder)]
    parts, state, batches = build(overrides)
    assert_step_can_be_captured(parts, state, batches[:2])


def assert_step_can_be_captured(
    parts: Parts, state: State, batches: Sequence[AnyBatch]
) -> StepInputs:
    """Take all steps but the last for real, and the last without data. Returns its inputs."""
    for batch in batches[:-1]:  # they make the state of the optimizer
        train_step(parts, state, batch)
    inputs = step_inputs(parts, state, batches[-1])
    with on_fake_tensors() as allowed:
        compute_step(parts, state, mapped(allowed.fake, inputs))
    return inputs


def on_cuda(parts: Parts) -> TrainingForward:
    """The forward pass, moved to CUDA. Inside `on_fake_tensors`."""
    recipe, view = parts.recipe, parts.view
    assert isinstance(view, views.StretchedView | views.CroppedView)
    moved = views.open_view(
        parts.stores["train"],
        recipe.input,
        recipe.augmentation,
        view.transforms,
        parts.hierarchy,
        CUDA,
        (0.5, 0.5, 0.5),
    )
    loss, model = parts.loss.to(CUDA), parts.segmenter.model.to(CUDA)
    return TrainingForward(model, moved, loss, parts.segmenter, CUDA, recipe.auxiliary.weight)


def mapped(function: Callable[[Tensor], Tensor], inputs: StepInputs) -> StepInputs:
    """The inputs of a step, with a function applied to each tensor."""
    batch, *numbers = inputs
    return StepInputs(map_tensors(function, batch), *map(function, numbers))


@pytest.mark.skipif("tests.support.shapes" not in sys.modules, reason="runs this file")
@pytest.mark.parametrize(
    "test",
    [
        "test_compiled_steps_train_as_others",
        pytest.param("test_compiled_whole_and_once", marks=pytest.mark.slow),
    ],
)
def test_compiled(test: str) -> None:
    """Run a test that compiles in a process without the checks of shapes."""
    options = ["--noconftest", "-p", "no:cacheprovider", f"{__file__}::{test}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@COMPILED
def test_compiled_whole_and_once(build: Build) -> None:
    """Nothing that changes from step to step, such as the progress, is compiled into the code."""
    parts, state, batches = build(CASES[EVERY])
    counter = CompileCounter()
    parts.forward.compile(fullgraph=True, backend=counter)
    for batch in batches:
        inputs = step_inputs(parts, state, batch)
        parts.forward(inputs.batch, inputs.progress)
        state.step += 1
    assert counter.frame_count == 1


@COMPILED
def test_compiled_steps_train_as_others(build: Build) -> None:
    """The same losses to 1e-5, and compiled once."""
    counter = CompileCounterWithBackend("aot_eager")
    found: dict[bool, list[list[float]]] = {}
    for compiled in (False, True):
        parts, state, batches = build(CASES[PARTS], on_device=True)
        if compiled:
            parts.forward.compile(fullgraph=True, backend=counter)
        terms = [train_step(parts, state, batch) for batch in batches]
        found[compiled] = [[one.item() for one in step.values()] for step in terms]
    torch.testing.assert_close(found[True], found[False], rtol=1e-5, atol=0)
    assert counter.frame_count == 1


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("name", registry.inference.names())
def test_scores_and_rules_can_be_captured(name: str, activation: Activation) -> None:
    """They make the classes that training counts."""
    factory = registry.inference.get(name)
    rule = factory(MAIN_TREE) if has_argument(factory, "hierarchy") else factory()
    segmenter = Segmenter(nn.Identity(), activation, rule, MAIN_TREE)
    logits = random_logits(MAIN_TREE, (2, 5, 7), torch.Generator())

    def classes(segmenter: Segmenter, logits: list[Tensor]) -> list[Tensor]:
        return [segmenter.classes(Prediction(tuple(logits)))]

    assert_capturable(segmenter, classes, [one.detach() for one in logits])


def test_step_that_cannot_be_captured(build: Build) -> None:
    """The proof above finds what it looks for."""
    with pytest.raises(NotCapturable, match="it reads a value back"):
        assert_step_can_be_captured(*build([*SHALLOW, ("loss", "silent")]))


def test_components_that_cannot_be_captured_are_found(plugin: Path) -> None:
    problem = "the loss reads is not capturable (reads its own value)"
    for loss, problems in (
        ("silent", []),
        ("reads", [problem]),
        ("{name: sum, losses: [bce, reads]}", [problem]),
    ):
        recipe = load(QUICKSTART, [*TINY, ("loss", loss)], [plugin])
        assert capture_problems(recipe, nn.Identity()) == problems


def test_a_part_that_cannot_be_captured_with_its_arguments_is_found() -> None:
    model = nn.ModuleDict({"backbone": nn.Identity(), "decoder": nn.Identity()})
    model["backbone"].capturable, model["backbone"].capturable_reason = False, "why"
    problems = capture_problems(load(QUICKSTART), model)
    assert problems == ["the backbone is not capturable (why)"]
