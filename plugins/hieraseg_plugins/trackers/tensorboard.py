"""TensorBoard."""

import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hieraseg.types import check_arguments


@check_arguments
class TensorBoard:
    """TensorBoard: curves, pictures and settings, in the folder `tensorboard` of the run.

    Args:
        folder: the run folder, supplied by the runner.
        after_step: step from which the run goes on, supplied by the runner.
    """

    def __init__(self, folder: Path, after_step: int = 0) -> None:
        # Imported here, since it takes a second, which recipes that are only read do not wait for.
        from torch.utils.tensorboard import SummaryWriter

        _hide_tracebacks()
        purged = after_step + 1 if after_step else None
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=purged)
        self.params: dict[str, Any] = {}
        self.best: dict[str, float] = {}

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Keep the settings, which are written beside the best scores."""
        self.params = params

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Write a point of each curve; those of `best/` are written beside the settings."""
        for name, value in metrics.items():
            if name.startswith("best/"):
                self.best[name] = value
            else:
                self.writer.add_scalar(name, value, step)

    def log_image(self, key: str, images: list[UInt8[np.ndarray, "H W 3"]], step: int) -> None:
        """Write pictures."""
        for number, image in enumerate(images, 1):
            name = key if len(images) == 1 else f"{key}/{number}"
            self.writer.add_image(name, image, step, dataformats="HWC")

    def finalize(self, status: str) -> None:
        """Write the settings of a run with its best scores, and close the files."""
        if self.best:
            self.writer.add_hparams(self.params, self.best, run_name=".")
        self.writer.close()


@cache
def _hide_tracebacks() -> None:
    """Let the threads of TensorBoard fail without a traceback: the writer raises their error."""
    shown = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            shown(failure)

    threading.excepthook = hook
