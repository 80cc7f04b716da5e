"""Experiment trackers, which show runs while they train."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch.utils.tensorboard import SummaryWriter

from hieraseg.recipe import Recipe


class TensorBoard:
    """Event files of a run: curves, figures of the same few images, and hyper-parameters.

    Args:
        folder: folder of the event files; nothing is written if it is None.
    """

    def __init__(self, folder: Path | None) -> None:
        self.writer = SummaryWriter(str(folder)) if folder is not None else None

    def add_epoch(self, record: dict[str, Any]) -> None:
        """Add an epoch's record to the curves: losses, scores, learning rate and speed."""
        if self.writer is None:
            return
        epoch = record["epoch"]
        for key in ("loss", "learning_rate", "images_per_second"):
            self.writer.add_scalar(f"train/{key}", record[key], epoch)
        for term, value in record["terms"].items():
            self.writer.add_scalar(f"train/{term}", value, epoch)
        for split in ("train", "val"):
            for level in record[split]["levels"]:
                if level["miou"] is not None:
                    self.writer.add_scalar(f"{split}/miou_{level['level']}", level["miou"], epoch)
            if record[split]["coherence"] is not None:
                self.writer.add_scalar(f"{split}/coherence", record[split]["coherence"], epoch)

    def add_figure(self, tag: str, figure: UInt8[np.ndarray, "H W 3"], epoch: int) -> None:
        """Add a figure."""
        if self.writer is not None:
            self.writer.add_image(tag, figure, epoch, dataformats="HWC")

    def close(self, recipe: Recipe, scores: dict[str, Any]) -> None:
        """Add the hyper-parameters with the best scores, and close the files."""
        if self.writer is None:
            return
        best = {f"best/miou_{level['level']}": level["miou"] or 0.0 for level in scores["levels"]}
        self.writer.add_hparams(_hyper_parameters(recipe), best, run_name=".")
        self.writer.close()


def _hyper_parameters(recipe: Recipe) -> dict[str, int | float | str]:
    """The settings of a recipe by dotted key."""
    found: dict[str, Any] = {}
    for section, values in recipe.to_dict(plugins=[]).items():
        if isinstance(values, dict):
            found |= {f"{section}.{key}": value for key, value in values.items()}
        else:
            found[section] = values
    return {k: v if isinstance(v, int | float | str) else str(v) for k, v in found.items()}
