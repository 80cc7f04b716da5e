"""The contract of all modules that are trained and saved: backbones, decoders and models."""

from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hieraseg.runs.checkpoint import load_checkpoint, save_checkpoint
from hieraseg.testing.capturing import assert_capturable, in_one_piece
from hieraseg.testing.comparing import difference, finite
from hieraseg.testing.component import DEFAULTS, Arguments, CapturableContract

CLOSE = {"rtol": 1e-3, "max_rtol": 1e-3}
"""Tolerances for many layers whose sums are computed in another order."""


_STEPS = 4
"""Training steps after which gradients must reach every parameter."""


class ModuleContract(CapturableContract):
    """Base class of their suites, which define how to build and call one."""

    _built: ClassVar[dict[str, nn.Module]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._built = {}

    def module(self, arguments: Arguments = DEFAULTS) -> nn.Module:
        """Build a new module."""
        raise NotImplementedError

    def inputs(self, batch: int = 2) -> list[Tensor]:
        """Random inputs that depend only on the batch size."""
        raise NotImplementedError

    def outputs(self, module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        """All tensors that the module returns."""
        raise NotImplementedError

    def shared_module(self, arguments: Arguments) -> nn.Module:
        """A module that is built once, for tests that do not modify it."""
        key = repr(arguments)
        if key not in self._built:
            self._built[key] = self.seeded_module(arguments, 0)
        return self._built[key]

    def seeded_module(self, arguments: Arguments, seed: int) -> nn.Module:
        """Build a new module with random weights of a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.module(arguments)

    def evaluate(self, module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        """Outputs for copies of the inputs, in evaluation mode and without a graph."""
        with torch.no_grad():
            return self.outputs(module.eval(), [one.clone() for one in inputs])

    def test_is_a_module(self, arguments: Arguments) -> None:
        """It is a `torch.nn.Module` with parameters."""
        module = self.shared_module(arguments)
        assert isinstance(module, nn.Module), "it must be a subclass of torch.nn.Module"
        assert any(True for _ in module.parameters()), "it has no parameters to train"

    def assert_capturable(self, arguments: Arguments) -> None:
        assert_capturable(self.shared_module(arguments).train(), self.outputs, self.inputs())

    def test_gradients_reach_every_parameter(self, arguments: Arguments) -> None:
        """Every parameter gets a finite gradient."""
        module = self.seeded_module(arguments, 0).train()
        idle = {name for name, one in module.named_parameters() if one.requires_grad}
        for _ in range(_STEPS):
            gradients = self._gradients(module)
            for name, gradient in gradients.items():
                assert gradient is not None, (
                    f"the parameter {name} gets no gradient: use it, remove it, or freeze it with "
                    "requires_grad_(False)"
                )
                assert gradient.isfinite().all(), f"the gradient of {name} is not finite"
            # Biases before a batch normalization have none, because it subtracts the mean.
            idle -= {name for name, one in gradients.items() if one.ndim == 1 or one.any()}
            if not idle:
                return
            # A weight of zero, as in a residual branch, hides those behind it until it is trained.
            _step(module, gradients)
        raise AssertionError(
            f"the gradient of {min(idle)} is zero everywhere: it cannot learn from its initial "
            "value"
        )

    def _gradients(self, module: nn.Module) -> dict[str, Any]:
        """Gradient of each parameter for random gradients of the outputs; None if it has none."""
        outputs = self.outputs(module, self.inputs())
        generator = torch.Generator().manual_seed(1)
        total = torch.stack(
            [(one * torch.randn(one.shape, generator=generator)).sum() for one in outputs]
        ).sum()
        assert total.requires_grad, "its outputs have no graph: something detaches them"
        named = {key: one for key, one in module.named_parameters() if one.requires_grad}
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        return dict(zip(named, gradients, strict=True))

    def test_inputs_are_not_modified(self, arguments: Arguments) -> None:
        """It does not modify its inputs."""
        inputs = self.inputs()
        before = [one.clone() for one in inputs]
        with torch.no_grad():
            self.outputs(self.shared_module(arguments).eval(), inputs)
        assert all(map(torch.equal, before, inputs)), (
            "it modifies its inputs: clone them before writing in place (a first layer with "
            "inplace=True writes in place too)"
        )

    def test_evaluation_is_deterministic(self, arguments: Arguments) -> None:
        """In evaluation mode, the same inputs give the same outputs."""
        module, inputs = self.shared_module(arguments), self.inputs()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            first = self.evaluate(module, inputs)
            torch.manual_seed(2)
            again = self.evaluate(module, inputs)
        differ = difference(again, first, rtol=0, atol=0)
        assert not differ, (
            f"in evaluation mode, the second call gives {differ}: use randomness only if "
            "`self.training` is true, and keep no state between calls"
        )

    def test_images_in_a_batch_are_independent(self, arguments: Arguments) -> None:
        """In evaluation mode, the outputs of an image do not depend on the rest of the batch."""
        module, inputs = self.shared_module(arguments), self.inputs(batch=3)
        together = self.evaluate(module, inputs)
        single = self.evaluate(module, [one[1:2] for one in inputs])
        differ = difference(single, [one[1:2] for one in together], **CLOSE)
        assert not differ, (
            f"without the other images in its batch, an image gives {differ}: do not use batch "
            "statistics in evaluation mode"
        )

    def test_autocast_is_finite(self, arguments: Arguments) -> None:
        """Under bfloat16 autocast, outputs and gradients are finite."""
        module = self.shared_module(arguments).train()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.outputs(module, self.inputs())
            total = torch.stack([one.float().square().mean() for one in outputs]).sum()
        trained = [one for one in module.parameters() if one.requires_grad]
        gradients = torch.autograd.grad(total, trained, allow_unused=True, materialize_grads=True)
        assert finite([*outputs, *gradients]), (
            "under autocast an output or gradient is not finite: compute what needs precision in "
            "float32, under `torch.autocast(device_type, enabled=False)`"
        )

    def test_channels_last_matches(self, arguments: Arguments) -> None:
        """In the memory format channels_last, which training uses, the outputs are the same."""
        inputs = self.inputs()
        expected = self.evaluate(self.shared_module(arguments), inputs)
        module = deepcopy(self.shared_module(arguments)).to(memory_format=torch.channels_last)
        inputs = [one.contiguous(memory_format=torch.channels_last) for one in inputs]
        differ = difference(self.evaluate(module, inputs), expected, **CLOSE)
        assert not differ, f"in the memory format channels_last it gives {differ}"

    def test_checkpoint_round_trip(self, arguments: Arguments, tmp_path: Path) -> None:
        """A new module that loads a checkpoint gives the same outputs."""
        module, inputs = self.shared_module(arguments), self.inputs()
        save_checkpoint(tmp_path / "checkpoint", module.state_dict(), {})
        other = self.seeded_module(arguments, 1)
        load_checkpoint(tmp_path / "checkpoint", other)
        differ = difference(self.evaluate(other, inputs), self.evaluate(module, inputs), rtol=1e-6)
        assert not differ, (
            f"loaded from a checkpoint it gives {differ}: everything that the outputs depend on "
            "must be a parameter, a persistent buffer, or a function of the arguments"
        )

    def test_compiled_matches_eager(self) -> None:
        """With torch.compile the outputs are the same."""
        inputs = self.inputs()
        expected = self.evaluate(self.shared_module(self.settings[0]), inputs)
        torch.compiler.reset()
        module = deepcopy(self.shared_module(self.settings[0]))
        module.compile(backend="eager", fullgraph=self.is_capturable)
        with in_one_piece():
            found = self.evaluate(module, inputs)
        differ = difference(found, expected, **CLOSE)
        assert not differ, f"with torch.compile it gives {differ}"

    def test_cuda_matches_cpu(self, arguments: Arguments, device: str) -> None:
        """On CUDA the outputs are the same as on the CPU."""
        inputs = self.inputs()
        expected = self.evaluate(self.shared_module(arguments), inputs)
        module = deepcopy(self.shared_module(arguments))
        with torch.backends.cudnn.flags(allow_tf32=False):
            moved = [one.to(device) for one in inputs]
            found = self.evaluate(module.to(device), moved)
        differ = difference(found, expected, **CLOSE)
        assert not differ, f"on CUDA it gives {differ}"


@torch.no_grad()
def _step(module: nn.Module, gradients: dict[str, Tensor]) -> None:
    """Change each parameter by about 0.01 against its gradient."""
    for name, parameter in module.named_parameters():
        if name in gradients and gradients[name].any():
            gradient = gradients[name]
            parameter.sub_(0.01 * gradient / gradient.square().mean().sqrt())
