"""TensorBoard: curves, pictures of the same few images each time, and hyper-parameters."""

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from hieraseg.recipe import Recipe


class TensorBoard:
    """Event files of one run.

    Args:
        folder: of the event files, or None to write nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.writer = SummaryWriter(str(folder)) if folder is not None else None

    def epoch(self, record: dict[str, Any]) -> None:
        """Curves of an epoch's record (see `train`): losses, scores, learning rate, speed."""
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

    def picture(self, tag: str, picture: np.ndarray, epoch: int) -> None:
        """A picture, uint8 `[H, W, 3]`."""
        if self.writer is not None:
            self.writer.add_image(tag, picture, epoch, dataformats="HWC")

    def close(self, recipe: Recipe, scores: dict[str, Any]) -> None:
        """Hyper-parameters with the best scores; then the end."""
        if self.writer is None:
            return
        settings = {
            f"{section}.{key}": value if isinstance(value, int | float | str) else str(value)
            for section, values in recipe.to_dict(plugins=[]).items()
            for key, value in values.items()
        }
        best = {f"best/miou_{level['level']}": level["miou"] or 0.0 for level in scores["levels"]}
        self.writer.add_hparams(settings, best, run_name=".")
        self.writer.close()
