"""What operations on tensors cost."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Watch(TorchDispatchMode):
    """Counts operations and the elements that they compute, and keeps the size of the largest."""

    operations = 0
    elements = 0
    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        outputs = result if isinstance(result, tuple | list) else [result]
        given = {one.untyped_storage().data_ptr() for one in args if isinstance(one, Tensor)}
        for tensor in outputs:
            # A view is not created.
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                # An expanded view repeats elements that are stored once.
                stored = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.largest = max(self.largest, min(tensor.numel(), stored))
                self.elements += tensor.numel()
        return result
