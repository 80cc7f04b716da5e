"""Layers of backbones, for learning rates that decay from layer to layer."""

from typing import Any

import pytest

from hieraseg import registry


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (
            "resnet50",
            {
                "stem.0.weight": 0,
                "stages.0.0.conv1.weight": 1,
                "stages.0.2.bn3.bias": 3,
                "stages.1.0.downsample.0.weight": 4,
                "stages.3.2.conv3.weight": 16,
            },
        ),
        (
            "efficientnet_lite",
            {
                "network.conv_stem.weight": 0,
                "network.bn1.bias": 0,
                "network.blocks.0.0.conv_dw.weight": 1,
                "network.blocks.1.1.conv_pw.weight": 3,
                "network.blocks.6.0.bn3.bias": 16,
            },
        ),
    ],
)
def test_the_stem_is_a_layer_and_each_block(backbone: str, expected: dict[str, int]) -> None:
    built: Any = registry.backbones.get(backbone)()
    assert {name: built.layer_of(name) for name in expected} == expected
    assert built.num_layers == 17
