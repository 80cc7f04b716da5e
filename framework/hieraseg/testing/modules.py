"""What backbones and decoders alike have to offer: modules that are trained and saved."""

from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from hieraseg.runs.checkpoint import load_checkpoint, save_checkpoint
from hieraseg.testing.comparing import difference, finite
from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract

CLOSE = {"rtol": 1e-3, "of_largest": 1e-3}
"""Many layers add up what another order of sums rounds differently."""


class ModuleContract(ComponentContract):
    """The base of the suites of backbones and decoders. A suite says how to build and call one."""

    _built: ClassVar[dict[str, nn.Module]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._built = {}

    def module(self, arguments: Arguments = DEFAULTS) -> nn.Module:
        """A new one."""
        raise NotImplementedError

    def inputs(self, batch: int = 2) -> list[Tensor]:
        """Random inputs, the same each time but for the size of the batch."""
        raise NotImplementedError

    def answer(self, module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        """All tensors that it answers."""
        raise NotImplementedError

    def shared(self, arguments: Arguments) -> nn.Module:
        """One with weights of seed 0, built once: for tests that do not change it for others."""
        key = repr(arguments)
        if key not in self._built:
            self._built[key] = self.seeded(arguments, 0)
        return self._built[key]

    def seeded(self, arguments: Arguments, seed: int) -> nn.Module:
        """A new one whose random weights come from a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.module(arguments)

    def quiet(self, module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        """Its answer to copies of the inputs, in evaluation mode, without a graph."""
        with torch.no_grad():
            return self.answer(module.eval(), [one.clone() for one in inputs])

    def test_it_is_a_module(self, arguments: Arguments) -> None:
        """It is a `torch.nn.Module` with parameters."""
        module = self.shared(arguments)
        assert isinstance(module, nn.Module), "it is no torch.nn.Module: subclass it"
        assert any(True for _ in module.parameters()), "it has no parameters: nothing is learnt"

    def test_gradients_reach_every_parameter(self, arguments: Arguments) -> None:
        """Every parameter gets a finite gradient."""
        module = self.shared(arguments).train()
        answers = self.answer(module, self.inputs())
        generator = torch.Generator().manual_seed(1)
        total = torch.stack(
            [(one * torch.randn(one.shape, generator=generator)).sum() for one in answers]
        ).sum()
        assert total.requires_grad, "its answer has no graph: it is detached somewhere"
        named = {key: one for key, one in module.named_parameters() if one.requires_grad}
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        for name, gradient in zip(named, gradients, strict=True):
            assert gradient is not None, (
                f"the parameter {name} gets no gradient: use it, remove it, or freeze it by "
                "requires_grad_(False)"
            )
            assert gradient.isfinite().all(), f"the gradient of {name} is not finite"
            # A bias before a batch normalisation has none to speak of: the mean is taken away.
            assert gradient.ndim == 1 or gradient.ne(0).any(), (
                f"the gradient of {name} is zero everywhere: it cannot learn from where it starts"
            )

    def test_inputs_are_not_changed(self, arguments: Arguments) -> None:
        """It does not change the tensors that it is given."""
        inputs = self.inputs()
        before = [one.clone() for one in inputs]
        with torch.no_grad():
            self.answer(self.shared(arguments).eval(), inputs)
        assert all(map(torch.equal, before, inputs)), (
            "it changes the tensors it is given: clone before writing in place (a first layer "
            "with inplace=True does so too)"
        )

    def test_evaluation_is_deterministic(self, arguments: Arguments) -> None:
        """In evaluation mode, the same inputs give the same answer again."""
        module, inputs = self.shared(arguments), self.inputs()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            first = self.quiet(module, inputs)
            torch.manual_seed(2)
            again = self.quiet(module, inputs)
        differ = difference(again, first, rtol=0, atol=0)
        assert not differ, (
            f"in evaluation mode it gives {differ} the second time: let nothing random happen "
            "where `self.training` is false, and change no state"
        )

    def test_images_of_a_batch_do_not_affect_each_other(self, arguments: Arguments) -> None:
        """In evaluation mode, an image's answer does not depend on the others of its batch."""
        module, inputs = self.shared(arguments), self.inputs(batch=3)
        together = self.quiet(module, inputs)
        alone = self.quiet(module, [one[1:2] for one in inputs])
        differ = difference(alone, [one[1:2] for one in together], **CLOSE)
        assert not differ, (
            f"an image gives {differ} without the others of its batch: in evaluation mode, use "
            "no statistics of the batch"
        )

    def test_autocast_gives_finite_answers_and_gradients(self, arguments: Arguments) -> None:
        """Under bfloat16 autocast, answers and gradients are finite."""
        module = self.shared(arguments).train()
        with torch.autocast("cpu", torch.bfloat16):
            answers = self.answer(module, self.inputs())
            total = torch.stack([one.float().square().mean() for one in answers]).sum()
        learnt = [one for one in module.parameters() if one.requires_grad]
        gradients = torch.autograd.grad(total, learnt, allow_unused=True, materialize_grads=True)
        assert finite([*answers, *gradients]), (
            "under autocast an answer or gradient is not finite: keep what needs precision "
            "within `torch.autocast(device_type, enabled=False)`, in float32"
        )

    def test_channels_last_gives_the_same(self, arguments: Arguments) -> None:
        """In the memory format channels_last, in which models are trained, it gives the same."""
        inputs = self.inputs()
        expected = self.quiet(self.shared(arguments), inputs)
        module = deepcopy(self.shared(arguments)).to(memory_format=torch.channels_last)
        inputs = [one.contiguous(memory_format=torch.channels_last) for one in inputs]
        differ = difference(self.quiet(module, inputs), expected, **CLOSE)
        assert not differ, f"in the memory format channels_last it gives {differ}"

    def test_a_checkpoint_brings_it_back(self, arguments: Arguments, tmp_path: Path) -> None:
        """Saved to a checkpoint and loaded into a new one, it gives the same."""
        module, inputs = self.shared(arguments), self.inputs()
        save_checkpoint(tmp_path, module, {})
        other = self.seeded(arguments, 1)
        load_checkpoint(tmp_path, other)
        differ = difference(self.quiet(other, inputs), self.quiet(module, inputs), rtol=1e-6)
        assert not differ, (
            f"loaded from a checkpoint it gives {differ}: whatever the answer depends on has to "
            "be a parameter or a persistent buffer, or follow from the arguments"
        )

    def test_torch_compile_gives_the_same(self) -> None:
        """Compiled by torch.compile, it gives the same."""
        module, inputs = self.shared(self.settings[0]), self.inputs()
        expected = self.quiet(module, inputs)
        torch.compiler.reset()
        compiled = cast(nn.Module, torch.compile(module, backend="eager"))
        differ = difference(self.quiet(compiled, inputs), expected, **CLOSE)
        assert not differ, f"compiled by torch.compile it gives {differ}"

    def test_cuda_gives_the_same(self, arguments: Arguments, device: str) -> None:
        """On CUDA it gives the same as on the CPU."""
        inputs = self.inputs()
        expected = self.quiet(self.shared(arguments), inputs)
        module = deepcopy(self.shared(arguments))
        with torch.backends.cudnn.flags(allow_tf32=False):
            moved = [one.to(device) for one in inputs]
            there = self.quiet(module.to(device), moved)
        differ = difference(there, expected, **CLOSE)
        assert not differ, f"on CUDA it gives {differ}"
