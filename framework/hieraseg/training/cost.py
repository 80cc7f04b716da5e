"""What a training step costs: floating point operations, waits of the host, memory."""

import copy
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hieraseg.contracts import Prediction
from hieraseg.settings import Precision
from hieraseg.training.timing import seconds
from hieraseg.training.waiting import reads_value, shaped_by_values

Work = Callable[[], object]
_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "32-true": torch.float32}


def count_flops(work: Work) -> int:
    """Floating point operations of convolutions, matrix products and attention, as torch counts.

    A multiplication and an addition are two operations. Compiled code is not counted.
    """
    corrected = {torch.ops.aten.convolution_backward: _convolution_backward}
    with (
        warnings.catch_warnings(),
        FlopCounterMode(display=False, custom_mapping=corrected) as counter,
    ):
        warnings.simplefilter("ignore")  # that its hooks are called twice in compiled modules
        work()
    return counter.get_total_flops()


def flops_per_image(model: nn.Module, size: tuple[int, int]) -> int | None:
    """Operations of the model for one training image, forward and backward (see `count_flops`).

    A copy of the model computes them. The model and random numbers stay as they are.

    Args:
        model: from images `[B, 3, H, W]` to a `Prediction`, not compiled.
        size: height and width of the images.

    Returns:
        The number; None for a model that cannot be copied, or cannot train on two images.
    """
    device = next(model.parameters()).device
    # Two, since batch normalization of pooled images cannot train on one.
    images = torch.zeros(2, 3, *size, device=device)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            model = copy.deepcopy(model).train()
            for module in model.modules():
                if isinstance(module, nn.SyncBatchNorm):
                    module.eval()  # it would wait for the other processes
            return count_flops(lambda: _backward(model(images))) // len(images)
    except Exception:  # models can raise anything
        return None


def _backward(prediction: Prediction) -> None:
    """Gradients of all that a loss can see."""
    outputs = [*prediction.logits, *(prediction.auxiliary or ())]
    if prediction.embedding is not None:
        outputs.append(prediction.embedding)
    trained = [output for output in outputs if output.requires_grad]
    torch.autograd.backward(trained, [torch.ones_like(output) for output in trained])


def _convolution_backward(
    grad_shape: Sequence[int],
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: object,
    output_mask: Sequence[bool],
    **_: object,
) -> int:
    """Operations of a convolution's gradients, each of which takes as many as the convolution.

    Torch's own formula counts the gradient of a weight once per group.
    """
    positions = math.prod((x_shape if transposed else grad_shape)[2:])
    once = 2 * x_shape[0] * positions * math.prod(weight_shape)
    return once * sum(output_mask[:2])


def peak_flops(device: torch.device, precision: Precision) -> float:
    """Floating point operations per second that a device reaches: those of a large matrix product.

    Args:
        device: the device.
        precision: a mixed precision multiplies in its 16 bits.
    """
    side = 8192 if device.type == "cuda" else 1024
    matrix = torch.randn(side, side, device=device).to(_DTYPES[precision])
    product = torch.empty_like(matrix)

    def multiply() -> None:
        torch.mm(matrix, matrix, out=product)

    return 2 * side**3 / min(seconds(multiply, device) for _ in range(10))


def count_host_waits(work: Work, device: torch.device) -> int:
    """How often the host waits for results of the device, in some work.

    On a CPU these are the operations for which it would have to wait on a GPU: those that read a
    value, or whose result has a shape that depends on values. Tensors that are converted to lists
    or NumPy arrays are not counted there. For tensors `like_on_gpu`, code that does something
    else on a CPU does what it does on a GPU.
    """
    if device.type != "cuda":
        with _HostWaits() as waits:
            work()
        return waits.count
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum("synchronizing CUDA operation" in str(one.message) for one in caught)


class _LikeOnGpu(Tensor):
    """A tensor of a subclass, as are the tensors without data that components are checked with."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.one_hot:
            return _one_hot(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs or {})


def _one_hot(classes: Tensor, num_classes: int = -1) -> Tensor:
    """`F.one_hot`, which reads on a CPU whether the classes are in range, but not on a GPU."""
    if num_classes < 0:
        num_classes = int(classes.max()) + 1
    return (classes[..., None] == torch.arange(num_classes)).long()


def like_on_gpu(tensor: Tensor) -> Tensor:
    """A tensor on the CPU that is not taken for one there (see `draws.where_chosen`)."""
    return tensor.as_subclass(_LikeOnGpu)


class _HostWaits(TorchDispatchMode):
    """Counts operations that read values, or whose result has a shape that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += reads_value(func) or bool(shaped_by_values(func, args))
        return func(*args, **(kwargs or {}))


def reset_peak_memory(device: torch.device) -> None:
    """Let the peak be that from now on, since a process may train several recipes.

    On a CPU only Linux can; elsewhere the peak is that since the start of the process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> int | None:
    """Peak memory in bytes: reserved on a CUDA device, else the resident set of the process.

    None if the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def images_that_fit(
    peak: Callable[[int], int], images: int, needed: int, device: torch.device
) -> int | None:
    """About how many images a step can have at most, by the memory of a CUDA device.

    The memory of a step grows linearly with its images, so it is measured with all and with half
    of them. What is reserved beyond the tensors grows with them.

    Args:
        peak: bytes of tensors at the peak of a step with some number of images.
        images: a number that fits.
        needed: bytes that are reserved for them.
        device: the device.

    Returns:
        The number; None for one image, or if the memory does not grow.
    """
    half = images // 2
    if half == 0:
        return None
    small, large = peak(half), peak(images)
    of_image = (large - small) / (images - half)
    if of_image <= 0:
        return None
    free, _ = torch.cuda.mem_get_info(device)
    available = (free + torch.cuda.memory_reserved(device)) * large / needed
    return max(images + math.floor((available - large) / of_image), images)


def peak_of(work: Work, device: torch.device) -> int:
    """Bytes of tensors on a CUDA device at the peak of some work."""
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)
