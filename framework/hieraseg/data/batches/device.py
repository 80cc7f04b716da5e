"""Batches on the training device, copied while the step before them runs."""

from collections import deque
from collections.abc import Iterable, Iterator

import torch

from hieraseg.data.batches.batch import Tensors, to_device

_IN_FLIGHT = 2  # batches on a GPU: one that is used, one that is copied


def on_device(batches: Iterable[Tensors], device: torch.device) -> Iterator[Tensors]:
    """Yield batches on a device.

    On CUDA, a stream of its own copies a batch, if its memory is pinned, while the device computes
    the step before. Python is never further ahead of the device than that, so that no more than
    two batches take up its memory.

    Args:
        batches: batches on the host, which may be read ahead.
        device: the training device. What its current stream is given between two batches is the
            step of the first one.
    """
    if device.type != "cuda":
        yield from (to_device(batch, device) for batch in batches)
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))  # steps of another call
    # A batch is kept until its step is done: then its memory is free for the next copy. The
    # allocator could see to that, but no longer after a capture of a CUDA graph has failed.
    steps: deque[tuple[torch.cuda.Event, Tensors]] = deque()
    for batch in batches:
        if len(steps) == _IN_FLIGHT:
            steps[0][0].synchronize()
            steps.popleft()
        with torch.cuda.stream(stream):
            copied = to_device(batch, device)
        current = torch.cuda.current_stream(device)
        current.wait_stream(stream)
        yield copied
        # Blocking, since a thread that waits otherwise takes a core from those that read.
        event = torch.cuda.Event(blocking=True)
        event.record(current)
        steps.append((event, copied))
