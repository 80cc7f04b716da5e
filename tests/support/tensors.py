"""What operations on tensors cost."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Watch(TorchDispatchMode):
    """Counts operations, and records the size of the largest tensor that they create."""

    operations = 0
    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        outputs = result if isinstance(result, tuple | list) else [result]
        for tensor in outputs:
            if isinstance(tensor, Tensor):
                # An expanded view repeats elements that are stored once.
                elements = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.largest = max(self.largest, min(tensor.numel(), elements))
        return result
