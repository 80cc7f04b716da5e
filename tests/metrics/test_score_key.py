"""Keys of scores in `result.json`: the run's own protocol is the split alone."""

from dataclasses import replace
from typing import Any

import pytest

from hieraseg.metrics.protocol import score_key, settings_of
from hieraseg.settings import Evaluation


@pytest.mark.parametrize(
    ("own", "used", "checkpoint", "key"),
    [
        ({}, {}, "best", "val"),
        ({}, {"batch_size": 2}, "best", "val"),
        ({}, {}, "last", "val@last"),
        ({}, {"flip": True}, "best", "val@flip"),
        ({"flip": True}, {"flip": True}, "best", "val"),
        ({"flip": True}, {}, "best", "val@no-flip"),
        ({}, {"scales": (0.25,)}, "best", "val@scales=0.25"),
        ({}, {"scales": (1.0, 0.5)}, "last", "val@last,scales=0.5+1"),
        ({"scales": (1.0, 0.5)}, {"scales": (0.5, 1.0)}, "best", "val"),
        ({}, {"window": (32, 64)}, "best", "val@window=32x64"),
        ({"window": (32, 64)}, {}, "best", "val@no-window"),
        (
            {"window": (8, 8)},
            {"window": (8, 8), "window_overlap": 0.25},
            "best",
            "val@overlap=0.25",
        ),
        ({}, {"window_overlap": 0.25}, "best", "val"),
    ],
)
def test_keys(own: dict[str, Any], used: dict[str, Any], checkpoint: str, key: str) -> None:
    assert score_key("val", checkpoint, Evaluation(**used), Evaluation(**own)) == key


@pytest.mark.parametrize(
    ("own", "used"),
    [
        ({}, {}),
        ({}, {"flip": True}),
        ({"flip": True}, {}),
        ({}, {"scales": (0.5, 1.0, 1.75)}),
        ({}, {"window": (32, 64), "window_overlap": 0.25}),
        ({"window": (32, 64)}, {}),
    ],
)
def test_settings_are_known_from_keys(own: dict[str, Any], used: dict[str, Any]) -> None:
    key = score_key("val", "last", Evaluation(**used), Evaluation(**own))
    assert replace(Evaluation(**own), **settings_of(key)) == Evaluation(**used)
