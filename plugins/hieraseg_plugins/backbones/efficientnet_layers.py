"""Layers for timm's EfficientNets that train faster on a CPU, with the same weights and results.

timm pads whole images for a convolution with TensorFlow's padding `SAME`, which depends on the size
of its input, and ReLU6 in place copies the input that its gradient needs.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import Conv2dSame
from torch import Tensor, nn

Padding = tuple[int, int, int, int]  # pixels at the left, right, top and bottom, as in `F.pad`


def replace_layers(network: nn.Module) -> None:
    """Replace all ReLU6 and all convolutions with padding `SAME`.

    Args:
        network: a model of timm whose ReLU6 all follow batch normalisation, as in EfficientNet,
            and whose blocks have their layers in the order in which they compute.
    """
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.ReLU6):
                setattr(parent, name, _ReLU6())
    for parent in list(network.modules()):
        before = None
        for name, layer in list(parent.named_children()):
            activation = getattr(before, "act", None)
            before = layer
            if not isinstance(layer, Conv2dSame):
                continue
            if isinstance(activation, _ReLU6):
                activation.padded_for = layer.kernel_size, layer.stride
                setattr(parent, name, _with_weights_of(layer, nn.Conv2d))
            else:
                setattr(parent, name, _with_weights_of(layer, _SameConv2d))


def _with_weights_of(layer: nn.Conv2d, kind: type[nn.Conv2d]) -> nn.Conv2d:
    """A convolution without padding, with the weights of another."""
    convolution = kind(
        layer.in_channels,
        layer.out_channels,
        cast(tuple[int, int], layer.kernel_size),
        cast(tuple[int, int], layer.stride),
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",  # draws no random weights, which would change the decoder's
    )
    convolution.weight, convolution.bias = layer.weight, layer.bias
    return convolution


class _SameConv2d(nn.Conv2d):
    """A convolution with padding `SAME`.

    Where a side has one more pixel of padding at its end than at its beginning, the weights are
    padded instead, which are far smaller than the images.
    """

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        left, right, top, bottom = _padding(images, self.kernel_size, self.stride)
        weight = self.weight
        if left != right or top != bottom:
            weight = F.pad(weight, [right - left, 0, bottom - top, 0])
        return F.conv2d(images, weight, self.bias, self.stride, (bottom, right), 1, self.groups)


class _ReLU6(nn.Module):
    """ReLU6 of images that no other layer uses, padded for the convolution that follows.

    Attributes:
        padded_for: kernel size and stride of a convolution with padding `SAME` that follows; None
            for no padding.
    """

    padded_for: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C _ _"]:
        padding = (0, 0, 0, 0)
        if self.padded_for is not None:
            padding = _padding(images, *self.padded_for)
        if torch.compiler.is_compiling():  # which also traces exported models
            output = F.relu6(images)
            return F.pad(output, padding) if any(padding) else output
        return cast(Tensor, _KeepOutput.apply(images, padding))


class _KeepOutput(torch.autograd.Function):
    """ReLU6 and padding that keep their output alone, as the next layer does.

    The output tells the gradient as well as the input: either both lie between 0 and 6, or neither.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Float[Tensor, "B C H W"], padding: Padding
    ) -> Float[Tensor, "B C _ _"]:
        if any(padding):
            output = _with_border(images, padding)
            torch.clamp(images, 0, 6, out=_inside(output, padding))
        else:
            ctx.mark_dirty(images)
            output = images.clamp_(0, 6)
        ctx.save_for_backward(output)
        ctx.padding = padding
        return output

    @staticmethod
    def backward(
        ctx: Any, gradient: Float[Tensor, "B C _ _"]
    ) -> tuple[Float[Tensor, "B C H W"], None]:
        (output,) = ctx.saved_tensors
        inside = _inside(gradient, ctx.padding), _inside(output, ctx.padding)
        return torch.ops.aten.hardtanh_backward(*inside, 0, 6), None


def _padding(
    images: Float[Tensor, "B C H W"], kernel_size: tuple[int, ...], stride: tuple[int, ...]
) -> Padding:
    """Padding `SAME` for a convolution; at the end of a side it is not less."""
    padding: list[int] = []
    for axis in (1, 0):
        side, step = images.shape[2 + axis], stride[axis]
        total = max((-(-side // step) - 1) * step + kernel_size[axis] - side, 0)
        padding += [total // 2, total - total // 2]
    return cast(Padding, tuple(padding))


def _inside(padded: Float[Tensor, "B C _ _"], padding: Padding) -> Float[Tensor, "B C H W"]:
    left, right, top, bottom = padding
    height, width = padded.shape[2:]
    return padded[:, :, top : height - bottom, left : width - right]


def _with_border(images: Float[Tensor, "B C H W"], padding: Padding) -> Float[Tensor, "B C _ _"]:
    """Padded images of the same memory format, 0 in the border and not set elsewhere."""
    left, right, top, bottom = padding
    batch, channels, height, width = images.shape
    last = images.is_contiguous(memory_format=torch.channels_last)
    padded = torch.empty(
        (batch, channels, top + height + bottom, left + width + right),
        dtype=images.dtype,
        device=images.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
    for axis, before, size in ((2, top, height), (3, left, width)):
        padded.narrow(axis, 0, before).zero_()
        after = before + size
        padded.narrow(axis, after, padded.shape[axis] - after).zero_()
    return padded
