"""Scoring a split: at the resolution of the protocol, from masks that are decoded once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hieraseg import registry
from tests.cli.test_jobs import run


def test_a_run_decodes_each_validation_mask_once_per_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for the images' store and once for the targets', whatever the number of epochs."""
    dataset = registry.datasets.get("mannequins")
    decoded: Counter[str] = Counter()
    decode = dataset.mask

    def mask(self: object, id: str) -> np.ndarray:
        decoded[id] += 1
        return decode(self, id)

    monkeypatch.setattr(dataset, "mask", mask)
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    run(tmp_path, "--training.epochs", "3")
    assert {id: n for id, n in decoded.items() if id.startswith("val")} == {
        f"val-{index:05d}": 2 for index in range(5)
    }
