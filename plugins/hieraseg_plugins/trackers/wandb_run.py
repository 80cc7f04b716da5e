"""Weights & Biases."""

import json
import os
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import UInt8

from hieraseg.types import check_arguments
from hieraseg_plugins.trackers.wandb_file import read_history


@check_arguments
class WandB:
    """Weights & Biases: curves, pictures and settings, offline unless `mode` is `online`.

    Offline, everything is in the folder `wandb` of the run, and `wandb sync` uploads it later. A
    run that goes on is the same run there: its id is in `wandb_run.json` of the run folder. What of
    later steps is in the folder `wandb` already is not logged again.

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
            settings.x_transaction_log_flush_interval = 0.1
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
        self.run.define_metric("*", step_metric="step")
        # W&B's own step has to increase with each row, so it counts rows.
        self.rows: int = saved.get("rows", 0)
        self.logged: set[tuple[str, int]] = set()
        for number, row in read_history(folder) if saved else ():
            self.rows = max(self.rows, number + 1)
            step = int(row.get("step", 0))
            if step >= after_step:
                self.logged |= {(name, step) for name in row}
        self._save()

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Log the settings."""
        self.run.config.update(params, allow_val_change=True)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log a point of each curve."""
        self._log(
            {key: one for key, one in metrics.items() if (key, step) not in self.logged}, step
        )

    def log_image(self, key: str, images: list[UInt8[np.ndarray, "H W 3"]], step: int) -> None:
        """Log pictures."""
        import wandb

        if (key, step) not in self.logged:
            self._log({key: [wandb.Image(image) for image in images]}, step)

    def finalize(self, status: str) -> None:
        """End the run."""
        self.run.finish(exit_code=0 if status == "success" else 1)

    def _log(self, row: dict[str, Any], step: int) -> None:
        """Log a row of the history."""
        if row:
            self.run.log({**row, "step": step}, step=self.rows, commit=True)
            self.rows += 1
            self._save()

    def _save(self) -> None:
        """Save what a run that goes on needs, also where `wandb sync` removed what it uploaded."""
        unfinished = self.file.with_suffix(".tmp")
        unfinished.write_text(json.dumps({"id": self.run.id, "rows": self.rows}))
        os.replace(unfinished, self.file)
