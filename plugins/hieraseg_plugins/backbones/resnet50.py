"""ResNet-50 from torchvision."""

from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50

from hieraseg.errors import RecipeError
from hieraseg.model.weights import Weights, load_weights, read_weights


class ResNet50(nn.Module):
    """ResNet-50 (He et al. 2015, arXiv:1512.03385), feature maps at strides 4, 8, 16 and 32.

    Args:
        weights: `imagenet` for torchvision's IMAGENET1K_V2 weights, which are downloaded once; or
            the path of a state dict with torchvision's names (.pth or .safetensors); or null for
            random weights.

    Raises:
        RecipeError: the weights are not available, or belong to another model.
    """

    channels: ClassVar[list[int]] = [256, 512, 1024, 2048]
    strides: ClassVar[list[int]] = [4, 8, 16, 32]
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, weights: Literal["imagenet"] | Path | str | None = None) -> None:
        super().__init__()
        network = resnet50()
        del network.fc
        if weights is not None:
            state = _download() if weights == "imagenet" else read_weights(weights)
            body = {key: value for key, value in state.items() if not key.startswith("fc.")}
            load_weights(network, body, weights, fix="name those of this model")
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.stages = nn.ModuleList(
            [network.layer1, network.layer2, network.layer3, network.layer4]
        )

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        features = self.stem(image)
        pyramid = []
        for stage in self.stages:
            features = stage(features)
            pyramid.append(features)
        return pyramid

    @property
    def num_layers(self) -> int:
        """Number of layers of different depth: the stem, and each residual block."""
        return 1 + sum(map(len, self._blocks))

    def layer_of(self, parameter_name: str) -> int:
        """The layer of a parameter, from 0 for the stem."""
        part, *place = parameter_name.split(".")
        if part == "stem":
            return 0
        stage, block = int(place[0]), int(place[1])
        return 1 + sum(map(len, self._blocks[:stage])) + block

    @property
    def _blocks(self) -> list[list[nn.Module]]:
        return [list(stage.children()) for stage in self.stages]


def _download() -> Weights:
    try:
        weights = ResNet50_Weights.IMAGENET1K_V2
        return dict(weights.get_state_dict(check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:  # RuntimeError: the hash does not match
        raise RecipeError(
            f"backbone.weights: the ImageNet weights of resnet50 cannot be downloaded ({error}); "
            "connect to the internet once, or set backbone.weights to a state dict file or to null"
        ) from error
