"""Experiment trackers, which show runs while they train."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch.utils.tensorboard import SummaryWriter

from hieraseg.console import warn
from hieraseg.recipe import Recipe


class TensorBoard:
    """Event files of a run: curves, figures of the same few images, and hyper-parameters.

    If they cannot be written, a warning says so once, and training goes on without them.

    Args:
        folder: folder of the event files; nothing is written if it is None.
        after_epoch: epoch after which the run goes on; what is there of later ones is hidden.
    """

    def __init__(self, folder: Path | None, after_epoch: int = 0) -> None:
        self.folder = folder
        self.writer: SummaryWriter | None = None
        if folder is not None:
            _hide_tracebacks()
            with self._closed_if_it_fails():
                purged = after_epoch + 1 if after_epoch else None
                self.writer = SummaryWriter(str(folder), purge_step=purged)

    @property
    def is_open(self) -> bool:
        """Whether anything is written."""
        return self.writer is not None

    def add_epoch(self, record: dict[str, Any]) -> None:
        """Add an epoch's record to the curves: losses, scores, learning rate and speed."""
        if self.writer is None:
            return
        with self._closed_if_it_fails():
            for tag, value in _curves(record):
                self.writer.add_scalar(tag, value, record["epoch"])

    def add_figure(self, tag: str, figure: UInt8[np.ndarray, "H W 3"], epoch: int) -> None:
        """Add a figure."""
        if self.writer is None:
            return
        with self._closed_if_it_fails():
            self.writer.add_image(tag, figure, epoch, dataformats="HWC")

    def close(self, recipe: Recipe, scores: dict[str, Any]) -> None:
        """Add the hyper-parameters with the best scores, and close the files."""
        if self.writer is None:
            return
        best = {f"best/miou_{level['level']}": level["miou"] or 0.0 for level in scores["levels"]}
        with self._closed_if_it_fails():
            self.writer.add_hparams(_hyper_parameters(recipe), best, run_name=".")
            self.writer.close()

    @contextmanager
    def _closed_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # with TensorFlow installed, of types of its own
            self.writer = None
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            warn(
                f"{self.folder}: cannot be written ({reason}); "
                "training goes on without curves and figures"
            )


@cache
def _hide_tracebacks() -> None:
    """Let the threads of TensorBoard fail without a traceback: the writer raises their error."""
    shown = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            shown(failure)

    threading.excepthook = hook


def _curves(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Tag and value of each curve in an epoch's record."""
    for key in ("loss", "learning_rate", "images_per_second"):
        if record[key] is not None:
            yield f"train/{key}", record[key]
    for term, value in record["terms"].items():
        yield f"train/{term}", value
    for split in ("train", "val"):
        for level in record[split]["levels"]:
            if level["miou"] is not None:
                yield f"{split}/miou_{level['level']}", level["miou"]
        if record[split]["coherence"] is not None:
            yield f"{split}/coherence", record[split]["coherence"]


def _hyper_parameters(recipe: Recipe) -> dict[str, int | float | str]:
    """The settings of a recipe by dotted key."""
    found: dict[str, Any] = {}
    for section, values in recipe.to_dict(plugins=[]).items():
        if isinstance(values, dict):
            found |= {f"{section}.{key}": value for key, value in values.items()}
        else:
            found[section] = values
    return {k: v if isinstance(v, int | float | str) else str(v) for k, v in found.items()}
