"""Weights & Biases."""

import json
import os
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import UInt8

from hieraseg.types import check_arguments
from hieraseg_plugins.trackers.repeated import without_repeated


@check_arguments
class WandB:
    """Weights & Biases: curves, pictures and settings, offline unless `mode` is `online`.

    Offline, everything is in the folder `wandb` of the run, and `wandb sync` uploads it later. A
    run that goes on is the same run there: its id is in `wandb_run.json` of the run folder.

    Args:
        folder: the run folder, supplied by the runner.
        after_step: step from which the run goes on, supplied by the runner.
        mode: `offline` sends nothing; `online` sends everything at once.
        project: name of the project; null for that of the recipe.
        entity: user or team; null for the default of the account.
    """

    requires: ClassVar = {"wandb": "hieraseg[wandb]"}

    def __init__(
        self,
        folder: Path,
        after_step: int = 0,
        mode: Literal["offline", "online"] = "offline",
        project: str | None = None,
        entity: str | None = None,
    ) -> None:
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.file = folder / "wandb_run.json"
        saved = json.loads(self.file.read_text()) if after_step and self.file.is_file() else {}
        settings = wandb.Settings(console="off", silent=True)
        if hasattr(settings, "x_transaction_log_flush_interval"):  # else a kill loses 15 seconds
            settings.x_transaction_log_flush_interval = 1.0
        self.run = wandb.init(
            dir=folder,
            project=project or folder.parent.name,
            entity=entity,
            name=folder.name,
            id=saved.get("id"),
            resume="allow",
            mode=mode,
            settings=settings,
        )
        # W&B's own step cannot go back, and the newest is not written yet: it counts rows instead.
        self.rows: int = saved.get("rows", 0)
        self.run.define_metric("*", step_metric="step")
        self.before: int = saved.get("last_step", 0)
        self.last_step = self.before
        self._save()

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Log the settings."""
        self.run.config.update(params, allow_val_change=True)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log a point of each curve."""
        new = without_repeated(metrics, step, self.before)
        if new:
            self._log({**new, "step": step})
        self._save()  # the step before: this one may not be on the disk yet
        self.last_step = max(step, self.before)

    def log_image(self, key: str, images: list[UInt8[np.ndarray, "H W 3"]], step: int) -> None:
        """Log pictures."""
        import wandb

        if step > self.before:
            self._log({key: [wandb.Image(image) for image in images], "step": step})

    def finalize(self, status: str) -> None:
        """End the run."""
        self.run.finish(exit_code=0 if status == "success" else 1)
        self._save()

    def _log(self, row: dict[str, Any]) -> None:
        """Log a row of the history."""
        self.run.log(row, step=self.rows, commit=True)
        self.rows += 1

    def _save(self) -> None:
        """Save what a run that goes on needs to know."""
        unfinished = self.file.with_suffix(".tmp")
        saved = {"id": self.run.id, "last_step": self.last_step, "rows": self.rows}
        unfinished.write_text(json.dumps(saved))
        os.replace(unfinished, self.file)
