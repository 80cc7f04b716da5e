"""Whether code can be part of a captured training step, found out on a CPU.

The code runs on tensors without data, on a CPU and on CUDA, which need not exist for that. See
https://docs.pytorch.org/docs/stable/user_guide/torch_compiler/torch.compiler_fake_tensor.html.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeVar

import jaxtyping
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hieraseg.tracebacks import describe
from hieraseg.training.waiting import reads_value, shaped_by_values

CUDA = torch.device("cuda")
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
OTHERWISE = "or set `capturable = False` and say why in `capturable_reason`"
_READ = (
    "it reads a value back from the device: keep it a tensor, without `.item()`, `float(...)`, "
    f"`.tolist()` or `if` on a tensor, {OTHERWISE}"
)
_SHAPE = (
    "it has a tensor whose shape depends on the data ({}): keep all pixels, and select with "
    f"`torch.where` or weights of 0, {OTHERWISE}"
)
_COPY = (
    "it copies a tensor from {} to {}: make tables in `__init__` and register them as buffers, "
    "and make other tensors on the device of the inputs, as with `torch.full` or `torch.arange`, "
    f"but not with `torch.tensor`, {OTHERWISE}"
)
_STATE = (
    "it changes its attribute `{}` from call to call, which a captured step does not: change "
    f"buffers in place, or use the progress of training or the draws, {OTHERWISE}"
)
_DEVICES = (
    "on CUDA it uses tensors of two devices: register those that are made in `__init__` as "
    "buffers, with persistent=False, and make others on the device of the inputs"
)
_FAILS = (
    "it fails on tensors without data, by which a captured step is checked ({}): use operations of "
    f"PyTorch that need no value on the host, {OTHERWISE}"
)

Component = TypeVar("Component")


class NotCapturable(AssertionError):  # noqa: N818 (a failed assertion, like those of pytest)
    """An operation that a captured step cannot have."""


class OnlyCapturable(TorchDispatchMode):
    """Inside this context, operations that cannot be captured in a CUDA graph raise NotCapturable.

    Operations on real tensors alone are computed as ever: they are done on the host.

    Args:
        mode: the mode of the tensors without data, which has to be entered first.
        copies: whether copies between devices are allowed, as in the first steps of a run.
    """

    def __init__(self, mode: FakeTensorMode, copies: bool = False) -> None:
        super().__init__()
        self.mode, self.copies = mode, copies

    def fake(self, tensor: Tensor, device: torch.device | None = None) -> Tensor:
        """A tensor without data like a real one, by default on its device."""
        moved = self.mode.from_tensor(tensor.detach()).to(device or tensor.device)
        return moved.requires_grad_(tensor.requires_grad)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if _is_on_host(args, kwargs):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        problem = _problem(func, args) or (not self.copies and _copy(func, args, kwargs))
        if problem:
            raise NotCapturable(problem)
        if func.overloadpacket.__name__.startswith("_fused_"):
            return None  # a step of an optimizer in place, which needs data
        return func(*args, **kwargs)


def assert_capturable(
    component: Component,
    call: Callable[[Component, list[Tensor]], Sequence[Tensor]],
    inputs: Sequence[Tensor],
) -> None:
    """Assert that a component can be part of a captured training step.

    It runs on tensors without data, forward and backward on the CPU and forward on CUDA, and must
    not read from the device, have shapes that depend on the data, copy between devices or change
    attributes. It stays as it is.

    Args:
        component: what is called; a module is moved to the device.
        call: calls it with inputs of a device, and returns its tensors.
        inputs: tensors on the CPU. Gradients are computed if any of them, or a parameter,
            requires them.

    Raises:
        NotCapturable: it cannot; the message says why, and how to fix it.
    """
    own = deepcopy(component)
    call(own, list(inputs))  # makes what is kept from the first call on
    with on_fake_tensors() as allowed:
        _backward(_called(own, call, [allowed.fake(one) for one in inputs]))
    with on_fake_tensors(copies=True) as allowed:
        if isinstance(own, nn.Module):
            own.to(CUDA)
        moved = [allowed.fake(one, CUDA) for one in inputs]
        _called(own, call, moved)
        allowed.copies = False
        before = _attributes(own)
        _called(own, call, moved)
        changed = [name for name, value in _attributes(own).items() if before.get(name) != value]
    if changed:
        raise NotCapturable(_STATE.format(changed[0]))


@contextmanager
def on_fake_tensors(copies: bool = False) -> Iterator[OnlyCapturable]:
    """Inside this context, tensors may have no data, and only what can be captured is allowed.

    A real tensor counts as one without data where it meets some, as weights do.

    Args:
        copies: whether copies between devices are allowed.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=False)
    with warnings.catch_warnings(), mode, OnlyCapturable(mode, copies) as allowed:
        warnings.simplefilter("ignore")  # such as that there is no CUDA device for autocast
        yield allowed


@contextmanager
def in_one_piece() -> Iterator[None]:
    """Raise NotCapturable where torch.compile, with fullgraph=True, cannot trace all of a call."""
    # Not at the top, since it takes seconds to import.
    from torch._dynamo.exc import TorchDynamoException

    checked = not jaxtyping.config.jaxtyping_disable
    try:
        # Run-time checks of shapes cannot be traced.
        jaxtyping.config.update("jaxtyping_disable", True)
        yield
    except TorchDynamoException as error:
        reason = next(filter(None, map(str.strip, str(error).splitlines())), "")
        raise NotCapturable(
            f"torch.compile cannot trace it in one piece ({reason}): use operations on tensors "
            f"alone, {OTHERWISE}"
        ) from error
    finally:
        jaxtyping.config.update("jaxtyping_disable", not checked)


def _called(
    component: Component,
    call: Callable[[Component, list[Tensor]], Sequence[Tensor]],
    inputs: list[Tensor],
) -> Sequence[Tensor]:
    try:
        return call(component, inputs)
    except AssertionError:
        raise
    except Exception as error:  # the component is the plugin's code, which may raise anything
        mixed = "devices" in str(error)
        problem = _DEVICES if mixed else _FAILS.format(describe(error, 200))
        raise NotCapturable(problem) from error


def _backward(outputs: Sequence[Tensor]) -> None:
    trained = [one.float().sum() for one in outputs if one.requires_grad]
    if trained:
        torch.stack(trained).sum().backward()


def _is_on_host(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation has, and makes, only real tensors of the CPU."""
    for one in tree_leaves((args, kwargs)):
        if isinstance(one, FakeTensor) or (isinstance(one, Tensor) and one.device.type != "cpu"):
            return False
    return torch.device(kwargs.get("device") or "cpu").type == "cpu"


def _problem(func: Any, args: tuple[Any, ...]) -> str:
    """What an operation does that no capture can have; empty if nothing."""
    if reads_value(func):
        return _READ
    cause = shaped_by_values(func, args)
    return _SHAPE.format(f"`{cause}`") if cause else ""


def _copy(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What is copied between devices; empty if nothing."""
    name = func.overloadpacket.__name__
    if name == "_to_copy":
        source, target = args[0].device, kwargs.get("device") or args[0].device
    elif name == "copy_":
        source, target = args[1].device, args[0].device
    elif name in ("index", "index_put", "index_put_"):
        target = args[0].device
        source = next((one.device for one in args[1] if one is not None), target)
    else:
        return ""
    return "" if source.type == target.type else _COPY.format(source.type, target.type)


def _attributes(component: Any) -> dict[str, Any]:
    """Tensors, numbers and lengths among the attributes of an object, or of the modules in it."""
    modules = component.named_modules() if isinstance(component, nn.Module) else [("", component)]
    found: dict[str, Any] = {}
    for prefix, module in modules:
        own = {**_class_numbers(type(module)), **getattr(module, "__dict__", {})}
        for name, value in {**own, **_buffers(module)}.items():
            if name not in _OF_EVERY_MODULE:
                found.update(_values(f"{prefix}.{name}".strip("."), value))
    return found


def _values(key: str, value: Any, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """An attribute, and what it contains, by keys such as `seen['steps']`; not what others are."""
    if isinstance(value, Tensor):
        yield key, state_of(value)
    elif isinstance(value, int | float | str | None):
        yield key, value
    elif isinstance(value, Mapping | Sequence | Set):
        yield key, len(value)
        if depth and not isinstance(value, Set):
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            for name, one in items:
                yield from _values(f"{key}[{name!r}]", one, depth - 1)


def _class_numbers(owner: type) -> dict[str, Any]:
    """Numbers that all objects of a class share, such as a counter of its calls."""
    shared = {name: value for one in reversed(owner.__mro__) for name, value in vars(one).items()}
    return {name: value for name, value in shared.items() if isinstance(value, int | float)}


def state_of(value: Any) -> Any:
    """What a captured step cannot change of a value: all but the data of a tensor on CUDA."""
    if not isinstance(value, Tensor):
        return value
    on_host = not isinstance(value, FakeTensor)
    number = value.tolist() if on_host and value.ndim == 0 else 0  # not all operations count
    return id(value), value._version if on_host else 0, number


def _buffers(module: Any) -> dict[str, Any]:
    return dict(module.named_buffers(recurse=False)) if isinstance(module, nn.Module) else {}
