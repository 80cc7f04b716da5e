"""Batch normalization over all processes keeps what a model computes."""

import pytest
import torch

from hieraseg import registry
from hieraseg.model.segmentation import EncoderDecoder
from hieraseg.model.synced import with_synced_batch_norm


@pytest.mark.parametrize("name", ["efficientnet_lite", "resnet50"])
def test_predictions_and_names_of_weights_stay(name: str) -> None:
    """timm's batch normalization includes an activation, which must not be lost."""
    torch.manual_seed(0)
    backbone = registry.backbones.get(name)(weights=None)
    decoder = registry.decoders.get("linear")(channels=backbone.channels, num_classes=[2, 3])
    model = EncoderDecoder(backbone, decoder).eval()
    image, names = torch.rand(1, 3, 32, 32), list(model.state_dict())
    with torch.inference_mode():
        expected = model(image).logits
        synced = with_synced_batch_norm(model, torch.device("cuda"))
        found = synced(image).logits
    assert list(synced.state_dict()) == names
    assert any(isinstance(one, torch.nn.SyncBatchNorm) for one in synced.modules())
    assert not any(type(one) is torch.nn.BatchNorm2d for one in synced.modules())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
