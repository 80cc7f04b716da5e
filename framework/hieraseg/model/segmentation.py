"""Models of a recipe: image -> logits per level at the image's size."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hieraseg.contracts import Prediction
from hieraseg.errors import RecipeError


class SegmentationModel(nn.Module):
    """Base class: normalises the image, and resizes the logits of `predict` to its size.

    Args:
        statistics: has `mean` and `std` of the images that it was trained on, RGB in 0..1.
        stride: evaluation pads images to a multiple of it.

    Attributes:
        mean: the mean, `[1, 3, 1, 1]`.
        std: the standard deviation.
        stride: as above.
        backbone_name: name of the backbone among the modules; empty for a model that has none.
        frozen: modules that are never in training mode (see `model.parts.freeze`).
    """

    mean: Tensor
    std: Tensor
    backbone_name: str = ""

    def __init__(self, statistics: Any, stride: int) -> None:
        super().__init__()
        # Not saved: they belong to a component's class.
        self.register_buffer("mean", _per_channel(statistics.mean), persistent=False)
        self.register_buffer("std", _per_channel(statistics.std), persistent=False)
        self.stride = stride
        self.frozen: list[nn.Module] = []

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Logits at the image's size.

        Args:
            image: RGB in 0..1.
        """
        prediction = self.predict((image - self.mean) / self.std)
        size = (image.shape[-2], image.shape[-1])
        return resize_logits(_in_float32(prediction), size)

    def predict(self, image: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Logits of a normalised image, at any stride."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> "SegmentationModel":
        """Set the training mode of all modules but the frozen ones."""
        super().train(mode)
        for module in self.frozen:
            module.training = False
        return self

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Its trained parameters as optimizers get them, under `backbone` and `head`."""
        name = self.backbone_name
        inside = set(self.get_submodule(name).parameters() if name else ())
        trained = [one for one in self.parameters() if one.requires_grad]
        return {
            "backbone": [one for one in trained if one in inside],
            "head": [one for one in trained if one not in inside],
        }


class EncoderDecoder(SegmentationModel):
    """A backbone and a decoder.

    Args:
        backbone: image -> feature pyramid (see `contracts.Backbone`).
        decoder: feature pyramid -> logits per level, at any stride.
        auxiliary: feature pyramid -> logits per level, for training; None for no such head.
    """

    backbone_name = "backbone"

    def __init__(
        self, backbone: nn.Module, decoder: nn.Module, auxiliary: nn.Module | None = None
    ) -> None:
        super().__init__(backbone, int(max(cast(Any, backbone).strides)))
        self.backbone = backbone
        self.decoder = decoder
        self.auxiliary = auxiliary

    def predict(self, image: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Logits of a normalised image, at any stride."""
        pyramid = self.backbone(image)
        if isinstance(pyramid, Tensor):  # whose images would be taken for feature maps
            raise RecipeError(
                f"backbone: {type(self.backbone).__name__} returns a tensor; return a list of "
                "feature maps, finest first"
            )
        prediction = _checked("decoder", self.decoder, self.decoder(pyramid))
        if self.auxiliary is None or not self.training:
            return prediction
        return Prediction(prediction.logits, prediction.embedding, self.auxiliary(pyramid))


class WholeModel(SegmentationModel):
    """A component that is a model by itself.

    Args:
        network: the component (see `contracts.Model`).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, int(cast(Any, network).stride))
        self.network = network
        if isinstance(getattr(network, "backbone", None), nn.Module):
            self.backbone_name = "network.backbone"

    def predict(self, image: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Logits of a normalised image, at any stride."""
        return _checked("model", self.network, self.network(image))


def _checked(section: str, component: nn.Module, prediction: Any) -> Prediction:
    """What a component returns. Raises RecipeError if it is no prediction."""
    if not isinstance(prediction, Prediction):
        raise RecipeError(
            f"{section}: {type(component).__name__} returns a {type(prediction).__name__}; return "
            "hieraseg.Prediction(logits), with the logits of each level"
        )
    return prediction


def resize_logits(prediction: Prediction, size: tuple[int, ...]) -> Prediction:
    """The prediction with its logits resized bilinearly to (height, width)."""
    auxiliary = prediction.auxiliary
    return Prediction(
        _resized(prediction.logits, size),
        prediction.embedding,
        None if auxiliary is None else _resized(auxiliary, size),
    )


def _resized(
    logits: tuple[Float[Tensor, "B _ _ _"], ...], size: tuple[int, ...]
) -> tuple[Float[Tensor, "B _ H W"], ...]:
    # Contiguous: of channels_last, a softmax over classes would copy all pixels.
    return tuple(
        level
        if level.shape[-2:] == size
        else F.interpolate(level.contiguous(), size, mode="bilinear", align_corners=False)
        for level in logits
    )


def _in_float32(prediction: Prediction) -> Prediction:
    """The gradient of upsampling adds up many pixels."""
    embedding, auxiliary = prediction.embedding, prediction.auxiliary
    return Prediction(
        tuple(level.float() for level in prediction.logits),
        None if embedding is None else embedding.float(),
        None if auxiliary is None else tuple(level.float() for level in auxiliary),
    )


def _per_channel(values: tuple[float, float, float]) -> Float[Tensor, "1 3 1 1"]:
    return torch.tensor(values).view(1, 3, 1, 1)
