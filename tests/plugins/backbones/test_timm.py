"""Backbones from timm, against timm itself."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import DropPath, resample_abs_pos_embed
from torch import Tensor, nn
from torchvision.models import resnet18

import tests.support.timm_models  # noqa: F401 (registers tiny_swin)
from hieraseg.errors import RecipeError
from hieraseg.types import ArgumentError
from hieraseg_plugins.backbones.timm_catalogue import layers_in
from hieraseg_plugins.backbones.timm_features import in_nchw
from hieraseg_plugins.backbones.timm_models import TimmModel
from tests.support.tracing import without_shape_checks

CONV, SWIN, VIT, VIT14 = "test_convnext", "tiny_swin", "test_vit", "tiny_vit14"
WEIGHTS = "hieraseg_plugins.backbones.timm_weights"
ANY_SIZE: dict[str, dict[str, Any]] = {
    SWIN: {"strict_img_size": False},
    VIT: {"dynamic_img_size": True},
}


def build(model: str, seed: int = 0, **arguments: Any) -> TimmModel:
    torch.manual_seed(seed)
    return TimmModel(model, **arguments).eval()


def timms(model: str, backbone: TimmModel, **options: Any) -> nn.Module:
    """timm's own feature extractor, with the weights of a backbone."""
    network = timm.create_model(model, features_only=True, **ANY_SIZE.get(model, {}), **options)
    network.load_state_dict(backbone.network.state_dict())
    return network.eval()


def features(module: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(module(image))


@pytest.mark.parametrize("model", [CONV, "test_resnet", "test_efficientnet", SWIN])
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_features_are_those_of_timm(model: str, size: tuple[int, int]) -> None:
    backbone, image = build(model), torch.rand(2, 3, *size)
    indices = [0, 1] if model == SWIN else [0, 1, 2, 3] if model == CONV else [1, 2, 3, 4]
    expected = features(timms(model, backbone, out_indices=indices), image)
    if model == SWIN:
        expected = [one.permute(0, 3, 1, 2) for one in expected]
    torch.testing.assert_close(features(backbone, image), expected, rtol=0, atol=0)
    assert backbone.channels == [one.shape[1] for one in expected]
    assert backbone.strides == [size[0] // one.shape[2] for one in expected]


@pytest.mark.parametrize("size", [(64, 64), (160, 96)])
def test_the_pyramid_of_a_transformer_starts_from_its_last_block(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    backbone: Any = build(VIT)
    seen: list[Any] = []
    backbone.pyramid.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pyramid = features(backbone, image)
    (last,) = features(timms(VIT, backbone, out_indices=[5]), image)
    torch.testing.assert_close(seen[0][0], last, rtol=0, atol=0)
    assert len(seen[0]) == 1
    assert [one.shape[2] for one in pyramid] == [size[0] // one for one in (4, 8, 16, 32)]


def test_four_blocks_of_a_transformer_have_a_branch_each() -> None:
    backbone: Any = build(VIT, out_indices=[0, 2, 3, 5])
    image = torch.rand(1, 3, 64, 64)
    expected = features(timms(VIT, backbone, out_indices=[0, 2, 3, 5]), image)
    found = features(backbone, image)
    for index in range(4):
        changed = [one + (position == index) for position, one in enumerate(expected)]
        with torch.no_grad():
            pairs = zip(backbone.pyramid(changed), found, strict=True)
            differ = [not torch.equal(one, other) for one, other in pairs]
        assert differ == [position == index for position in range(4)]


@pytest.mark.parametrize("model", [CONV, SWIN, VIT])
def test_an_odd_image_is_padded_with_its_mean_and_its_features_cropped(model: str) -> None:
    backbone, image = build(model), torch.rand(1, 3, 65, 33)
    padded = torch.zeros(1, 3, 96, 64)
    padded[..., :65, :33] = image
    multiple = {CONV: 32, SWIN: 8, VIT: 16}[model]
    padded = padded[..., : -(-65 // multiple) * multiple, : -(-33 // multiple) * multiple]
    expected = [
        one[..., : -(-65 // stride), : -(-33 // stride)]
        for one, stride in zip(features(backbone, padded), backbone.strides, strict=True)
    ]
    torch.testing.assert_close(features(backbone, image), expected, rtol=0, atol=0)


def test_the_strides_of_patches_of_14_pixels_are_powers_of_two() -> None:
    backbone = build(VIT14)
    assert backbone.strides == [4, 8, 16, 32]
    for size in ((32, 64), (65, 33), (97, 128), (224, 224)):
        pyramid = features(backbone, torch.rand(1, 3, *size))
        assert [tuple(one.shape[2:]) for one in pyramid] == [
            (-(-size[0] // stride), -(-size[1] // stride)) for stride in backbone.strides
        ]


def test_resized_feature_maps_stay_in_place() -> None:
    """A change of one patch is strongest where that patch is, at each stride."""
    backbone: Any = build(VIT14)
    tokens = torch.randn(1, 16, 16, 16)
    changed = tokens.clone()
    changed[:, :, 11, 5] += 10  # the pixels from 154 and 70 on
    with torch.no_grad():
        pairs = zip(backbone.pyramid([tokens]), backbone.pyramid([changed]), strict=True)
    for (one, other), stride in zip(pairs, backbone.strides, strict=True):
        cost = (one - other).abs().sum(1)[0]
        rows, columns = torch.meshgrid(*(torch.arange(side) for side in cost.shape), indexing="ij")
        centre = [((place + 0.5) * cost).sum() / cost.sum() * stride for place in (rows, columns)]
        assert abs(centre[0] - 161) < stride, stride
        assert abs(centre[1] - 77) < stride, stride


# Arguments.


@pytest.mark.parametrize(
    ("model", "arguments", "problem"),
    [
        (
            "convnext_tiny.fb_in22",
            {},
            "timm has no model .*, did you mean 'convnext_tiny.fb_in22k'",
        ),
        ("convnext_tny", {}, "did you mean 'convnext_tiny'"),
        ("xyzzy", {}, "hieraseg list backbones timm --filter"),
        ("mixer_b16_224", {}, "mixer_b16_224 does not take images of any size .Input"),
        ("inception_v3", {}, "does not take images of any size .one of"),
        (CONV, {"out_indices": [1, 4]}, "must be among 0 to 3"),
        (CONV, {"out_indices": []}, "must be among 0 to 3"),
        (CONV, {"out_indices": [2, 1]}, "must be ascending, got"),
        (VIT, {"out_indices": [1, 2]}, "must be one or four for test_vit"),
        ("test_resnet", {"drop_path": 1.0}, "drop_path must be in"),
        ("vgg11", {"drop_path": 0.1}, "must be null for vgg11, which drops no paths"),
        (VIT14, {"weights": "pretrained"}, "timm has no pretrained weights of tiny_vit14"),
    ],
)
def test_arguments_that_do_not_fit(model: str, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentError, match=problem) as caught:
        TimmModel(model, **arguments)
    assert "\n" not in str(caught.value)


def test_feature_maps_can_be_chosen() -> None:
    everything = build(CONV)
    some = build(CONV, out_indices=[1, -1])
    image = torch.rand(1, 3, 64, 64)
    expected = features(everything, image)
    torch.testing.assert_close(features(some, image), [expected[1], expected[3]], rtol=0, atol=0)
    assert (some.channels, some.strides) == ([32, 64], [8, 32])


def test_dropped_paths_are_those_of_timm() -> None:
    dropped, kept = (
        [one.drop_prob for one in build(VIT, drop_path=rate).modules() if isinstance(one, DropPath)]
        for rate in (0.3, None)
    )
    assert max(dropped) == pytest.approx(0.3)
    assert not kept


def test_weights_depend_on_the_seed_alone() -> None:
    one, same, other = (build(VIT, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["network.model.pos_embed"], other["network.model.pos_embed"])


@pytest.mark.parametrize("model", [CONV, SWIN, VIT])
def test_checkpointing_changes_no_gradient(model: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        backbone = build(model, checkpointing=checkpointing).train()
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        torch.stack([one.square().mean() for one in backbone(image)]).sum().backward()
        gradients.append([one.grad for one in backbone.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.slow
def test_checkpointing_can_be_compiled() -> None:
    backbone = build(VIT, checkpointing=True).train()
    image = torch.rand(1, 3, 64, 64)
    expected = [one.detach() for one in backbone(image)]
    torch.compiler.reset()
    backbone.compile(backend="aot_eager", fullgraph=True)
    with without_shape_checks():
        found = backbone(image)
        torch.stack([one.square().mean() for one in found]).sum().backward()
    torch.testing.assert_close([one.detach() for one in found], expected)
    assert all(one.grad is not None for one in backbone.parameters())


# Weights.


def saved(folder: Path, weights: dict[str, Tensor], wrapper: str | None = None) -> str:
    path = folder / "weights.pth"
    torch.save({wrapper: weights} if wrapper else weights, path)
    return str(path)


def assert_loaded(backbone: TimmModel, source: nn.Module) -> None:
    """It gives the last feature map of a classifier of timm."""
    image = torch.rand(1, 3, 64, 64)
    network: Any = source.eval()
    with torch.no_grad():
        expected = network.forward_intermediates(image, intermediates_only=True)
        found = in_nchw(backbone.network, backbone.network(image))
    torch.testing.assert_close(found[-1], expected[-1], rtol=0, atol=0)


@pytest.mark.parametrize("model", [CONV, SWIN, VIT])
@pytest.mark.parametrize("prefix", ["", "module.backbone."])
def test_weights_of_a_classifier_of_timm(
    model: str, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = timm.create_model(model)
    weights = {f"{prefix}{key}": one for key, one in source.state_dict().items()}
    backbone = build(model, 1, weights=saved(tmp_path, weights, "state_dict" if prefix else None))
    assert_loaded(backbone, source)
    assert "warning" not in capsys.readouterr().err


def test_weights_of_torchvision(tmp_path: Path) -> None:
    source = resnet18()
    backbone = build("resnet18", weights=saved(tmp_path, source.state_dict()))
    own = backbone.network.state_dict()
    assert all(torch.equal(own[key], one) for key, one in source.state_dict().items() if key in own)
    assert set(source.state_dict()) - set(own) == {"fc.weight", "fc.bias"}


def test_weights_of_a_dino_release_have_other_names_and_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In DINOv2's, the class token has a position, and there is a mask token."""
    source = timm.create_model(VIT14)
    weights = {key: one for key, one in source.state_dict().items() if not key.startswith("head.")}
    weights["register_tokens"] = weights.pop("reg_token")
    positions = weights["pos_embed"] = torch.randn(1, 1 + 16, 16)
    weights["mask_token"] = torch.zeros(1, 16)
    path = tmp_path / "weights.safetensors"
    save_file({f"teacher.backbone.{key}": one for key, one in weights.items()}, path)
    own = build(VIT14, weights=str(path)).network.state_dict()
    assert torch.equal(own["model.reg_token"], weights["register_tokens"])
    assert torch.equal(own["model.blocks.1.ls1.gamma"], weights["blocks.1.ls1.gamma"])
    assert torch.equal(own["model.cls_token"], weights["cls_token"] + positions[:, 0])
    assert torch.equal(own["model.pos_embed"], positions[:, 1:])
    assert "warning" not in capsys.readouterr().err


def test_positions_of_another_size_are_resampled(tmp_path: Path) -> None:
    source = timm.create_model(VIT14, img_size=112)
    own = build(VIT14, weights=saved(tmp_path, source.state_dict())).network.state_dict()
    expected = resample_abs_pos_embed(source.pos_embed, [4, 4], [8, 8], num_prefix_tokens=0)
    torch.testing.assert_close(own["model.pos_embed"], expected.detach(), rtol=0, atol=0)


def test_weights_that_are_not_used_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = timm.create_model(CONV).state_dict() | {"decoder.weight": torch.zeros(1)}
    path = saved(tmp_path, weights)
    build(CONV, weights=path)
    assert (
        f"warning: {path}: 1 tensors are not used (first: decoder.weight)"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("other", ["test_convnext2", "test_resnet"])
def test_weights_of_another_timm_model(tmp_path: Path, other: str) -> None:
    path = saved(tmp_path, timm.create_model(other).state_dict())
    with pytest.raises(RecipeError, match="holds the weights of another model") as caught:
        build(CONV, weights=path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pretrained_weights_are_those_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    source = timm.create_model(CONV)
    monkeypatch.setattr(f"{WEIGHTS}.try_to_load_from_cache", lambda *_: "somewhere")
    monkeypatch.setattr(
        "timm.models._builder.load_state_dict_from_hf", lambda *_, **__: source.state_dict()
    )
    assert_loaded(build(CONV, weights="pretrained"), source)


def test_pretrained_weights_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(f"{WEIGHTS}.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(f"{WEIGHTS}.get_hf_file_metadata", offline)
    with pytest.raises(ArgumentError, match=r"Name or service not known\); connect to") as it:
        TimmModel("test_resnet.r160_in1k", weights="pretrained")
    assert it.value.argument == "weights"
    assert "\n" not in str(it.value)


# Layers, for learning rates that decay from layer to layer.


def test_layers_of_a_transformer() -> None:
    """The embedding, a layer per block, and the pyramid."""
    backbone = build(VIT)
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert backbone.num_layers == 8
    assert layers["network.model.pos_embed"] == layers["network.model.patch_embed.proj.bias"] == 0
    assert layers["network.model.blocks.0.norm1.weight"] == 1
    assert layers["network.model.blocks.5.mlp.fc1.weight"] == 6
    assert {one for name, one in layers.items() if name.startswith("pyramid.")} == {7}


def test_layers_of_a_network_whose_stages_have_other_names() -> None:
    backbone = build(CONV)
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert layers["network.stem_0.weight"] == 0
    blocks = [layers[f"network.stages_{stage}.blocks.0.conv_dw.weight"] for stage in range(4)]
    assert blocks == sorted(set(blocks))
    assert sorted(set(layers.values())) == list(range(backbone.num_layers))


def test_layers_of_a_network_that_has_none_in_timm() -> None:
    """They are its stages."""
    with torch.device("meta"):
        network = timm.create_model("poolformer_s12", features_only=True)
    layers = layers_in(network, "poolformer_s12", features_only=True)
    assert layers["stem.conv.weight"] == 0
    assert layers["stages_0.blocks.1.mlp.fc1.weight"] == 1
    assert layers["stages_3.downsample.conv.weight"] == 4
    assert layers.keys() == dict(network.named_parameters()).keys()
