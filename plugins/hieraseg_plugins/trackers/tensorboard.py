"""TensorBoard."""

import re
import shutil
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hieraseg.types import check_arguments

_LEVEL = re.compile(r"iou_level_(\d+)/")


@check_arguments
class TensorBoard:
    """TensorBoard: curves, pictures and settings, in the folder `tensorboard` of the run.

    Settings and best scores are a run of its own there, `best`: the tab HParams takes all curves of
    a run for results.

    Args:
        folder: the run folder, supplied by the runner.
        after_step: step from which the run goes on, supplied by the runner.
    """

    def __init__(self, folder: Path, after_step: int = 0) -> None:
        # Imported here, since it takes a second, which recipes that are only read do not wait for.
        from torch.utils.tensorboard import SummaryWriter

        _hide_tracebacks()
        self.folder = folder / "tensorboard"
        self.writer = SummaryWriter(str(self.folder), purge_step=after_step + 1)
        self.params: dict[str, int | float | str] = {}
        self.best: dict[str, float] = {}
        self.last_step = after_step
        self.has_layout = False

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Keep the settings, which are written beside the best scores."""
        self.params = {
            key: str(v).lower() if isinstance(v, bool) else v for key, v in params.items()
        }

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Write a point of each curve; those of `best/` are written beside the settings."""
        if not self.has_layout:
            self.writer.add_custom_scalars(_layout(metrics))
            self.has_layout = True
        self.last_step = step
        for name, value in metrics.items():
            if name.startswith("best/"):
                self.best[_beside_curve(name)] = value
            else:
                self.writer.add_scalar(name, value, step)
        self.writer.flush()  # a process that is killed has written what came before its checkpoint

    def log_image(self, key: str, images: list[UInt8[np.ndarray, "H W 3"]], step: int) -> None:
        """Write pictures."""
        for number, image in enumerate(images, 1):
            name = key if len(images) == 1 else f"{key}/{number}"
            self.writer.add_image(name, image, step, dataformats="HWC")
        self.writer.flush()

    def finalize(self, status: str) -> None:
        """Write the settings of a run with its best scores, and close the files."""
        if self.best:
            self._write_best()
        self.writer.close()

    def _write_best(self) -> None:
        """Write the settings and the best scores, in place of those before the run went on.

        `SummaryWriter.add_hparams` would also say which settings there are. Without that the page
        finds it out, for all runs together, and shows first what differs between them.
        """
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        shutil.rmtree(self.folder / "best", ignore_errors=True)
        _, start, end = hparams(self.params, self.best)
        with SummaryWriter(str(self.folder / "best")) as writer:
            for summary in (start, end):
                writer.file_writer.add_summary(summary, self.last_step)
            for name, value in self.best.items():
                writer.add_scalar(name, value, self.last_step)


def _beside_curve(name: str) -> str:
    """`best/miou_level_1` as `miou/best_level_1`, so that it stands beside the curves."""
    score, _, rest = name.removeprefix("best/").partition("_")
    return f"{score}/best_{rest}".rstrip("_")


def _layout(names: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """Charts of the tab `Custom Scalars`, in each of which all curves of a group are together."""
    charts = {
        "Training": {
            "loss": r"loss/.*",
            "terms of the loss": r"loss_terms/.*",
            "learning rate": r"learning_rate/.*",
            "norm of the gradient": r"gradient_norm/(mean|max)",
        },
        "Scores": {
            "mIoU of each level, validation": r"miou/val_.*",
            "mIoU of each level, training": r"miou/train_.*",
            "share of pixels whose classes form a path": r"coherence/.*",
        },
        "IoU of each class, validation": {
            f"level {level}": rf"iou_level_{level}/.*"
            for level in sorted({int(found[1]) for found in map(_LEVEL.match, names) if found})
        },
    }
    shown = {
        title: {
            chart: ["Multiline", [pattern]]
            for chart, pattern in of_title.items()
            if any(re.fullmatch(pattern, name) for name in names)
        }
        for title, of_title in charts.items()
    }
    return {title: of_title for title, of_title in shown.items() if of_title}


@cache
def _hide_tracebacks() -> None:
    """Let the threads of TensorBoard fail without a traceback: the writer raises their error."""
    shown = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            shown(failure)

    threading.excepthook = hook
