"""Backbones from timm."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import timm
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hieraseg.types import ArgumentError, DropRate, check_arguments
from hieraseg_plugins.backbones.simple_pyramid import SimplePyramid
from hieraseg_plugins.backbones.timm_catalogue import check_name, choices, layers_in
from hieraseg_plugins.backbones.timm_features import choose_features, in_nchw
from hieraseg_plugins.backbones.timm_weights import create_pretrained, load_file


@check_arguments
class TimmModel(nn.Module):
    """Any model of timm that gives feature maps (github.com/huggingface/pytorch-image-models).

    Convolutional and windowed networks give one feature map per stride. Plain vision transformers
    (ViT, DINOv2, DINOv3, EVA) give maps of one stride, from which the simple feature pyramid of
    ViTDet (Li et al. 2022, arXiv:2203.16527) makes four. Where a model takes only sides that are
    multiples of a number, such as the patch size, images are padded with the mean at the right and
    below, and the feature maps are cropped; positions are resampled to the size of the image.
    Models that take images of one size only, such as BEiT, are refused.

    `hieraseg list backbones timm --filter convnext` lists the models.

    Args:
        model: name of the model, as in `convnext_tiny` or `convnext_tiny.fb_in22k`, where the tag
            says which pretrained weights, and by which mean and std images are normalised.
        weights: `pretrained` for the weights of timm's hub, which are downloaded once; or the path
            of a state dict with the names of timm, or of a release that timm converts (.pth or
            .safetensors), with or without a prefix; or null for random weights.
        out_indices: which feature maps of the model to take, counted from 0, finest first; by
            default the last of each stride from 4 on. Of a plain vision transformer, one block or
            four of them, by default the last one.
        drop_path: probability that the last residual branch is dropped in training (stochastic
            depth); those before it have less. By default the model's own, which is mostly 0.
        checkpointing: whether the backward pass computes activations again instead of keeping
            them, which takes less memory and more time. Training steps are then not captured,
            and the running statistics of batch normalization count some batches twice.

    Raises:
        ArgumentError: there is no such model, or it gives no such feature maps, or its pretrained
            weights are not available.
        RecipeError: the file of weights cannot be read, or belongs to another model.
    """

    choices = staticmethod(choices)

    def __init__(
        self,
        model: str,
        weights: Literal["pretrained"] | Path | str | None = None,
        out_indices: Sequence[int] | None = None,
        drop_path: DropRate | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_name(model)
        indices = None if out_indices is None else tuple(out_indices)
        features = choose_features(model, indices, drop_path)
        self.model, self._options, self._multiple = model, features.options, features.multiple
        if weights == "pretrained":
            self.network: Any = create_pretrained(model, features.options)
        else:
            self.network = timm.create_model(model, **features.options)
        if weights not in (None, "pretrained"):
            load_file(self.network, model, features.options, weights)
        if checkpointing:
            _checkpoint(self.network, model)
            self.capturable, self.capturable_reason = False, "checkpointing keeps random states"
        self.channels, self.strides = list(features.channels), list(features.strides)
        self.pyramid: SimplePyramid | None = None
        self.untrained: tuple[str, ...] = ()
        if features.plain:
            self.pyramid = SimplePyramid(features.channels, features.strides[0])
            self.channels, self.strides = self.pyramid.channels, self.pyramid.strides
            self.untrained = ("pyramid",)
        self.mean: tuple[float, float, float] = tuple(self.network.pretrained_cfg["mean"])
        self.std: tuple[float, float, float] = tuple(self.network.pretrained_cfg["std"])

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        height, width = image.shape[-2:]
        right, below = -width % self._multiple, -height % self._multiple
        if right or below:
            image = F.pad(image, (0, right, 0, below))
        maps = in_nchw(self.network, self.network(image))
        if self.pyramid is not None:
            maps = self.pyramid(maps)
        return [
            one[..., : -(-height // stride), : -(-width // stride)]
            for one, stride in zip(maps, self.strides, strict=True)
        ]

    @property
    def num_layers(self) -> int:
        """Number of layers of different depth."""
        return max(self._layers.values()) + (1 if self.pyramid is None else 2)

    def layer_of(self, parameter_name: str) -> int:
        """The layer of a parameter, from 0 for the stem."""
        part, _, name = parameter_name.partition(".")
        return self.num_layers - 1 if part == "pyramid" else self._layers[name]

    @cached_property
    def _layers(self) -> dict[str, int]:
        return layers_in(self.network, self.model, **self._options)


def _checkpoint(network: Any, model: str) -> None:
    try:
        getattr(network, "model", network).set_grad_checkpointing(True)
    except (AssertionError, AttributeError) as error:
        problem = f"must be false for {model}, which has none in timm"
        raise ArgumentError("checkpointing", problem) from error
