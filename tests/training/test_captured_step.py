"""Steps captured in a CUDA graph, where stand-ins on the CPU take the place of CUDA.

The stand-in of a graph records the operations of a step, and a replay executes them again on the
same tensors: what a step computes in Python, and each number that it takes from there, stays as it
was when the step was captured.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hieraseg.data.batches.batch import AnyBatch
from hieraseg.recipe import load
from hieraseg.training import graph as graph_module
from hieraseg.training.graph import CapturedStep
from hieraseg.training.order import run_step
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.step import StepInputs, compute_step, train_step
from tests.support.processes import as_processes
from tests.support.runs import QUICKSTART

BREAKING = Path(__file__).parents[1] / "support/breaking_plugin.py"
STEPS = 7  # of which 3 come before the capture
PLUGIN = """
from typing import Any
from torch import nn, optim
from hieraseg import registry

@registry.backbones.register("shallow")
class Shallow(nn.Module):
    "Two convolutions, and random numbers."

    channels, strides = [8, 12], [4, 8]
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 12, 2, 2)
        self.norm, self.dropout = nn.BatchNorm2d(8), nn.Dropout(0.1)

    def forward(self, image):
        first = self.dropout(self.norm(self.first(image)).relu())
        return [first, self.second(first)]

def weights(parameters: dict[str, Any]) -> list[Any]:
    return [one for part in parameters.values() for one in part]

@registry.optimizers.register("counting")
def counting(parameters: dict[str, Any]) -> optim.Optimizer:
    "Keeps the number of steps on the host."
    return optim.Adagrad(weights(parameters))

@registry.optimizers.register("foreach")
def foreach(parameters: dict[str, Any]) -> optim.Optimizer:
    "Takes no tensors as learning rates."
    return optim.Adam(weights(parameters), foreach=True)

@registry.schedules.register("cycle")
def cycle(optimizer: Any, total_steps: int) -> Any:
    "Changes the momentum, too."
    return optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps)
"""
TINY = [
    ("data", "{name: mannequins, image_size: [32, 32], train_images: 12, val_images: 4}"),
    ("input.size", "[32, 32]"),
    ("training.batch_size", "4"),
    ("training.device", "cpu"),
    ("backbone", "shallow"),
    ("decoder.width", "8"),
    ("augmentation.transforms", "[]"),
]

Take = Callable[[AnyBatch], object]


class _Stream:
    def __init__(self, device: object = None) -> None: ...

    def wait_stream(self, other: "_Stream") -> None: ...


class _Graph(TorchDispatchMode):
    """Records operations; a replay executes them again, with the results in the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, ...]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for one in tree_leaves((args, kwargs)):  # batch normalisation changes some of them
            if isinstance(one, Tensor):
                self.before.setdefault(one.data_ptr(), (one, one.detach().clone()))
        result = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, result))
        return result

    def undo(self) -> None:
        """What is captured is not executed."""
        for tensor, value in reversed(self.before.values()):  # views come after what they show
            tensor.detach().copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, result in self.operations:
            again = tree_leaves(func(*args, **kwargs))
            for old, new in zip(tree_leaves(result), again, strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextmanager
def _captured(graph: _Graph, stream: _Stream, capture_error_mode: str) -> Iterator[None]:
    random = torch.get_rng_state()
    try:
        with graph:
            yield
    finally:
        graph.undo()
        torch.set_rng_state(random)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = SimpleNamespace(
        Stream=_Stream,
        current_stream=_Stream,
        stream=lambda stream: warnings.catch_warnings(),  # a context that does nothing here
        CUDAGraph=_Graph,
        graph=_captured,
    )
    monkeypatch.setattr(graph_module, "_reset_generator", lambda device: None)
    # All is on the host here.
    on_host = lambda optimizer: type(optimizer.optimizer) is torch.optim.Adagrad  # noqa: E731
    monkeypatch.setattr(graph_module, "keeps_state_on_host", on_host)
    for name, value in vars(stand_in).items():
        monkeypatch.setattr(torch.cuda, name, value)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("captured") / "captured_plugin.py"
    file.write_text(PLUGIN)
    return file


def steps(
    plugin: Path,
    overrides: list[tuple[str, str]],
    open_step: Callable[..., Take],
    before: Callable[[int, State], None] = lambda number, state: None,
) -> tuple[list[dict[str, float]], State, Take]:
    """Terms of the loss, summed after each step."""
    epochs = ("training.epochs", str(STEPS))
    parts, state = set_up(load(QUICKSTART, [*TINY, epochs, *overrides], [plugin, BREAKING]))
    parts.forward.train()
    torch.manual_seed(1)
    take = open_step(parts, state)
    given = [run_step(parts, 1, k + 1, torch.arange(4) + k) for k in range(STEPS)]
    found = []
    for number, batch in enumerate(parts.view.load(given)):
        before(number, state)
        take(batch)
        found.append({name: one.item() for name, one in state.totals.terms.items()})
    return found, state, take


def assert_same_training(one: Any, other: Any) -> None:
    torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=1e-7)
    for values in (
        lambda state: state.model.state_dict(),
        lambda state: state.scored_model.state_dict(),
        lambda state: state.totals.norms,
        lambda state: state.schedule.get_last_lr(),
        lambda state: state.totals.counts.counts,
    ):
        expected, found = (values(run[1]) for run in (one, other))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "overrides",
    [
        [("schedule", "{name: cosine, warmup: 0.3}"), ("auxiliary.stage", "1")],
        [("optimizer", "{name: sgd, backbone_lr_multiplier: 0.1}"), ("loss", "hssn")],
        [("training.precision", "bf16-mixed")],
        [
            ("optimizer", "{name: timm, optimizer: lion, lr: 1e-3, decay_norms: false}"),
            ("training.freeze", "[backbone.first, backbone.norm]"),
        ],
        [
            ("training.accumulate", "2"),
            ("training.clip_norm", "0.1"),
            ("training.ema", "0.4"),
        ],
    ],
)
def test_replayed_steps_train_as_those_from_python(
    overrides: list[tuple[str, str]], plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its own images, learning rates, random numbers and progress."""
    plain = steps(plugin, overrides, lambda *run: partial(train_step, *run))
    captured = steps(plugin, overrides, CapturedStep)
    assert_same_training(plain, captured)
    assert isinstance(captured[2], CapturedStep)
    assert captured[2].graph is not None
    assert captured[2].problem is None
    assert "captured" not in capsys.readouterr().err


@pytest.mark.parametrize(("what", "skipped"), [("skip", 1), ("stop", 2)])
def test_a_replayed_step_that_is_not_finite(what: str, skipped: int, plugin: Path) -> None:
    """The sixth of seven; the weights stay as they are from then on, or go on after it."""
    loss = ("loss", f"{{name: breaking, at: {5 / (3 * STEPS)}}}")
    overrides = [loss, ("training.on_nonfinite", what), ("training.ema", "0.4")]
    plain = steps(plugin, overrides, lambda *run: partial(train_step, *run))
    captured = steps(plugin, overrides, CapturedStep)
    assert_same_training(plain, captured)
    assert isinstance(captured[2], CapturedStep)
    assert captured[2].graph is not None
    assert captured[1].finite.first == 6
    assert captured[1].totals.skipped == skipped
    assert all(one.isfinite().all() for one in captured[1].scored_model.state_dict().values())


def test_a_step_that_cannot_be_captured_is_taken_from_python(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One warning says what has failed first, not what the end of the capture says of it."""

    @contextmanager
    def failing(graph: _Graph, **options: object) -> Iterator[None]:
        with _captured(graph, **options):  # type: ignore[arg-type]
            try:
                yield
                raise RuntimeError("it reads a value back\nfrom the device")
            except RuntimeError:
                raise RuntimeError("an error before")  # noqa: B904 (as torch does)

    plain = steps(plugin, [], lambda *run: partial(train_step, *run))
    monkeypatch.setattr(torch.cuda, "graph", failing)
    captured = steps(plugin, [], CapturedStep)
    assert_same_training(plain, captured)
    said = capsys.readouterr().err
    assert said.count("warning: the training step cannot be captured") == 1
    assert "(it reads a value back)" in said
    assert captured[2].problem == "capturing it failed (it reads a value back)"


def test_a_capture_that_fails_in_one_process_is_given_up_in_all(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their gradients are averaged: a process that replays would wait for one that does not."""
    runs = [set_up(load(QUICKSTART, TINY, [plugin])) for _ in range(2)]
    capturing = threading.local()

    def compute(parts: Parts, state: State, inputs: StepInputs) -> dict[str, Tensor]:
        if not capturing.now:
            return compute_step(parts, state, inputs)  # in which the processes wait for each other
        if state is runs[1][1]:
            raise RuntimeError("out of memory")
        return {}

    @contextmanager
    def graph(*graphs: _Graph, **options: object) -> Iterator[None]:
        capturing.now = True
        try:
            yield
        finally:
            capturing.now = False

    def train(rank: int) -> CapturedStep:
        capturing.now = False
        parts, state = runs[rank]
        take = CapturedStep(parts, state)
        take.waiting = 1
        for batch in parts.view.load([run_step(parts, 1, k, torch.arange(4)) for k in (1, 2, 3)]):
            take(batch)
        return take

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(graph_module, "compute_step", compute)
    for rank, take in enumerate(as_processes(monkeypatch, 2, train)):
        assert not isinstance(take, Exception), take
        assert take.graph is None, rank
        assert take.problem == "capturing it failed (out of memory)"
        assert take.state.step == 3
    assert "cannot be captured in a CUDA graph (out of memory)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ([("optimizer", "counting")], "the optimizer counts steps on the host"),
        (
            [("optimizer", "sgd"), ("schedule", "cycle")],
            "the optimizer or the schedule changes more than the learning rates",
        ),
    ],
)
def test_what_a_graph_would_keep_constant_is_not_captured(
    overrides: list[tuple[str, str]],
    reason: str,
    plugin: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = steps(plugin, overrides, lambda *run: partial(train_step, *run))
    captured = steps(plugin, overrides, CapturedStep)
    assert_same_training(plain, captured)
    line = f"the training step is not captured in a CUDA graph: {reason}\n"
    assert capsys.readouterr().err.count(line) == 1


def test_settings_that_change_after_the_capture(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(number: int, state: State) -> None:
        if number == STEPS - 2:
            for group in state.optimizer.param_groups:
                group["weight_decay"] = 0.5

    plain = steps(plugin, [], lambda *run: partial(train_step, *run), change)
    captured = steps(plugin, [], CapturedStep, change)
    assert_same_training(plain, captured)
    assert capsys.readouterr().err.count("no longer replayed as a CUDA graph") == 1


def test_optimizers_that_refuse_tensors_as_learning_rates(plugin: Path) -> None:
    _, state, _ = steps(plugin, [("optimizer", "foreach")], lambda *run: partial(train_step, *run))
    assert state.step == STEPS
