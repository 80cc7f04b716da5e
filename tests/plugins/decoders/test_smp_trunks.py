"""What the decoders over segmentation_models_pytorch share: heads, dropout, sizes and weights."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hieraseg import registry
from hieraseg_plugins.decoders.trunk import block_widths, lined_up, nearest_stage, used_channels

CHANNELS, STRIDES, CLASSES = [16, 24, 32], [4, 8, 16], [2, 3, 7]
WIDTHS = (256, 128, 64, 32, 16)


def build(decoder: str = "unet", **settings: Any) -> Any:
    torch.manual_seed(0)
    supplied = {"channels": CHANNELS, "strides": STRIDES, "num_classes": CLASSES}
    return registry.decoders.get(decoder)(**{**supplied, **settings})


def pyramid() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, n, 64 // stride, 96 // stride, generator=generator)
        for n, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


def count(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


# Heads.


def test_shared_heads_have_one_trunk_and_branches_have_one_per_level() -> None:
    shared, branches = build(), build(heads="branches")
    (trunk,) = shared.trunks
    heads = count(shared.classifiers)
    assert heads == sum(n * 32 + n for n in CLASSES)  # 1x1 convolutions of 32 channels
    assert count(shared) == count(trunk) + heads
    assert count(branches) == 3 * count(trunk) + heads


@pytest.mark.parametrize("heads", ["shared", "branches"])
def test_a_level_trains_its_own_branch_alone(heads: str) -> None:
    decoder = build(heads=heads)
    logits = decoder(pyramid()).logits[1]
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    (logits * direction).sum().backward()
    trained = [trunk.blocks[0].conv1[0].weight.grad is not None for trunk in decoder.trunks]
    assert trained == ([True] if heads == "shared" else [False, True, False])
    assert [one.weight.grad is not None for one in decoder.classifiers] == [False, True, False]


def test_branches_start_from_weights_of_their_own() -> None:
    first, second, _ = (one.blocks[0].conv1[0].weight for one in build(heads="branches").trunks)
    assert not torch.equal(first, second)


# Dropout.


def test_dropout_drops_whole_channels_before_the_heads_in_training_alone() -> None:
    decoder, seen = build(dropout=0.5), []
    for classifier in decoder.classifiers:
        classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    decoder.trunks[0].register_forward_hook(lambda *call: seen.append(call[2]))
    decoder.train()(pyramid())
    trunk, *inputs = seen
    scale = inputs[0].flatten(2).sum(2) / trunk.flatten(2).sum(2)
    dropped = inputs[0].flatten(2).eq(0).all(2)
    assert 0 < dropped.float().mean() < 1
    torch.testing.assert_close(scale, torch.where(dropped, 0.0, 2.0))
    seen.clear()
    decoder.eval()(pyramid())
    assert all(torch.equal(one, seen[0]) for one in seen)


@pytest.mark.parametrize("decoder", ["fpn", "deeplabv3plus"])
def test_without_dropout_training_is_deterministic(decoder: str) -> None:
    """smp has dropout inside these, too."""
    settings = {"aspp_dropout": 0.0} if decoder == "deeplabv3plus" else {}
    built = build(decoder, dropout=0.0, width=32, **settings).train()
    first, second = built(pyramid()).logits, built(pyramid()).logits
    assert all(map(torch.equal, first, second))


# Initial weights.


def test_initial_weights_are_those_of_smp() -> None:
    decoder = build()
    weight = decoder.trunks[0].blocks[0].conv1[0].weight
    bound = math.sqrt(6 / weight[0].numel())  # He, uniform
    assert 0.99 * bound < weight.abs().max() <= bound
    head = decoder.classifiers[2]
    bound = math.sqrt(6 / (32 + 7))  # Glorot, uniform
    assert 0.9 * bound < head.weight.abs().max() <= bound
    assert not head.bias.any()


# Stages, widths and sizes.


@pytest.mark.parametrize(
    ("stride", "blocks", "widths"),
    [
        (2, 5, [256, 128, 64, 32, 16]),  # ends at 16, 8, 4, 2, 1, as in smp
        (4, 4, [256, 128, 64, 32]),  # ends at 16, 8, 4, 2
        (4, 3, [128, 64, 32]),
        (16, 1, [128]),  # ends at 8
        (2, 6, [256, 256, 128, 64, 32, 16]),
        (1, 2, [32, 16]),
        (64, 1, [256]),
    ],
)
def test_widths_belong_to_strides(stride: int, blocks: int, widths: list[int]) -> None:
    assert block_widths(WIDTHS, stride, blocks) == widths


@pytest.mark.parametrize(
    ("strides", "finest", "most", "used"),
    [
        ([2, 4, 8, 16, 32], 2, None, [0, 1, 2, 3, 4]),
        ([2, 4, 8, 16, 32], 4, 4, [1, 2, 3, 4]),
        ([1, 2, 4], 2, None, [1, 2]),
        ([4, 8, 16, 32, 64], 4, 4, [1, 2, 3, 4]),
        ([3, 7, 14, 28], 4, 4, [0, 1, 2, 3]),  # 3 is nearer to 4 than to 2
        ([16, 16, 16, 16], 4, 4, [0, 1, 2, 3]),
        ([1, 2], 4, 4, [0, 1]),  # nothing is left otherwise
    ],
)
def test_stages_that_are_used(
    strides: list[int], finest: int, most: int | None, used: list[int]
) -> None:
    assert used_channels(range(len(strides)), strides, finest, most) == used


@pytest.mark.parametrize(
    ("strides", "stage"), [([2, 4, 8], 1), ([8, 16, 32], 0), ([1, 2], 1), ([16, 16], 0)]
)
def test_deeplab_takes_the_stage_nearest_to_stride_4(strides: list[int], stage: int) -> None:
    assert nearest_stage(strides, 4) == stage


def test_sizes_that_line_up_are_left_alone() -> None:
    features = pyramid()
    assert all(one is other for one, other in zip(features, lined_up(features), strict=True))


def test_sizes_that_do_not_line_up_are_resized_to_those_of_the_finest_stage() -> None:
    features = [torch.rand(1, 2, *size) for size in [(17, 25), (9, 13), (5, 7), (3, 4)]]
    sizes = [tuple(one.shape[-2:]) for one in lined_up(features)]
    assert sizes == [(24, 32), (12, 16), (6, 8), (3, 4)]
    for one in lined_up([torch.full_like(one, 3.0) for one in features]):
        torch.testing.assert_close(one, torch.full_like(one, 3.0))


# Refusals.


@pytest.mark.parametrize(
    ("decoder", "settings", "message"),
    [
        ("fpn", {"width": 100}, "width must be a multiple of 32"),
        ("linknet", {"channels": [3, 8, 8]}, "at least 4 in each, or the decoder unet"),
        ("unet", {"attention": "scse", "widths": [64, 8, 8]}, "at least 16 channels in each"),
        ("unetplusplus", {"attention": "scse", "channels": [16, 8, 16]}, "but one has 8"),
        ("manet", {"widths": []}, "widths must be non-empty"),
        ("deeplabv3plus", {"atrous_rates": (6, 0, 18)}, "atrous_rates must be positive, got 0"),
        ("pan", {"dropout": 1}, r"dropout must be in \[0, 1\), got 1"),
        ("deeplabv3plus", {"aspp_dropout": 1.0}, r"aspp_dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_what_cannot_be_built_is_refused(
    decoder: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(decoder, **settings)
