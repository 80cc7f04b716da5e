"""Tiny transformers, registered in timm beside its own test models."""

from typing import Any

from timm.models import SwinTransformer, VisionTransformer, build_model_with_cfg, register_model
from torch import nn


@register_model
def tiny_swin(pretrained: bool = False, **options: Any) -> nn.Module:
    """Two stages with windows of 4x4 for images of 64x64, channels last."""
    sizes = {"img_size": 64, "embed_dim": 16, "depths": (1, 2), "num_heads": (2, 4)}
    return build_model_with_cfg(
        SwinTransformer,
        "tiny_swin",
        pretrained,
        feature_cfg={"out_indices": (0, 1), "flatten_sequential": True},
        **{"window_size": 4, **sizes, **options},
    )


@register_model
def tiny_vit14(pretrained: bool = False, **options: Any) -> nn.Module:
    """Patches of 14x14 pixels and registers, as in DINOv2, for images of 56x56."""
    sizes = {"img_size": 56, "patch_size": 14, "embed_dim": 16, "depth": 2, "num_heads": 2}
    return build_model_with_cfg(
        VisionTransformer,
        "tiny_vit14",
        pretrained,
        feature_cfg={"out_indices": options.pop("out_indices", 1), "feature_cls": "getter"},
        **{"reg_tokens": 2, "no_embed_class": True, "init_values": 1.0, **sizes, **options},
    )
