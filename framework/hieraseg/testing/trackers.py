"""The contract of trackers."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg.contracts import Tracker
from hieraseg.testing.component import DEFAULTS, Arguments, ComponentContract

PARAMS = {"loss": "tree_min", "optimizer.lr": 1e-3, "training.epochs": 3, "evaluation.flip": True}
METRICS = {"loss/total": 1.5, "miou/val_level_1": 0.25, "iou_level_1/up arm": 0.0}
PICTURE = np.zeros((8, 12, 3), np.uint8)


class TrackerContract(ComponentContract):
    """The contract of trackers (see `contracts.Tracker`)."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A run folder."""
        path = tmp_path / "recipe" / "base-seed0"
        path.mkdir(parents=True)
        return path

    def supplied(self, folder: Path | None = None, after_step: int = 0) -> dict[str, Any]:
        """Arguments that the runner supplies."""
        return {"folder": folder or Path("runs/recipe/base-seed0"), "after_step": after_step}

    def make(self, folder: Path, arguments: Arguments = DEFAULTS, after_step: int = 0) -> Tracker:
        """Build the tracker of a run."""
        tracker = self.build(arguments, **self.supplied(folder, after_step))
        # Not by `isinstance`: from Python 3.12 on, it does not see what only `__getattr__` finds.
        methods = "log_hyperparams", "log_metrics", "finalize"
        assert all(callable(getattr(tracker, method, None)) for method in methods), (
            "it must have the methods `log_hyperparams`, `log_metrics` and `finalize`"
        )
        return tracker

    def track(self, tracker: Tracker, steps: range, status: str = "success") -> None:
        """Let the tracker have a run."""
        _unless_missing(tracker, "log_hyperparams", dict(PARAMS))
        for step in steps:
            tracker.log_metrics(dict(METRICS), step)
            _unless_missing(tracker, "log_image", "val/image", [PICTURE.copy()], step)
        tracker.finalize(status)

    @pytest.mark.parametrize("status", ["success", "failed", "aborted"])
    def test_a_run_is_tracked(self, folder: Path, arguments: Arguments, status: str) -> None:
        """It takes settings, curves and pictures, and every way in which a run ends."""
        self.track(self.make(folder, arguments), range(1, 4), status)

    def test_a_run_without_results(self, folder: Path) -> None:
        """A run can fail before anything was logged."""
        self.make(folder, self.settings[0]).finalize("failed")

    def test_a_run_goes_on(self, folder: Path, arguments: Arguments) -> None:
        """A run that was stopped goes on in another process from one of its steps."""
        self.track(self.make(folder, arguments), range(1, 4), "aborted")
        self.track(self.make(folder, arguments, after_step=2), range(3, 6))

    def test_what_it_is_given_stays(self, folder: Path) -> None:
        """It changes none of the settings, numbers and pictures."""
        tracker = self.make(folder, self.settings[0])
        params, metrics, picture = dict(PARAMS), dict(METRICS), PICTURE.copy()
        _unless_missing(tracker, "log_hyperparams", params)
        tracker.log_metrics(metrics, 1)
        _unless_missing(tracker, "log_image", "val/image", [picture], 1)
        tracker.finalize("success")
        assert (params, metrics) == (PARAMS, METRICS), "it changes a mapping: copy it"
        assert (picture == PICTURE).all(), "it changes a picture: copy it"


def _unless_missing(tracker: Tracker, method: str, *arguments: Any) -> None:
    """Call a method that it may lack."""
    with suppress(NotImplementedError):
        getattr(tracker, method, lambda *_: None)(*arguments)
