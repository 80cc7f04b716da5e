"""The embedding of decoders, for losses that train one."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from hieraseg import Hierarchy, registry
from hieraseg.contracts import has_argument

CHANNELS, STRIDES = [8, 12, 16], [4, 8, 16]
DECODERS = ["linear", "skip", "unet"]  # unet shares its embedding with others
every_decoder = pytest.mark.parametrize("decoder", DECODERS)


def pyramid() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, n, 16 >> stage, 20 >> stage, generator=generator)
        for stage, n in enumerate(CHANNELS)
    ]


def build(decoder: str, **settings: Any) -> torch.nn.Module:
    factory = registry.decoders.get(decoder)
    if has_argument(factory, "strides"):
        settings["strides"] = STRIDES
    torch.manual_seed(0)
    return factory(channels=CHANNELS, num_classes=[2, 3], **settings)


@every_decoder
@pytest.mark.parametrize("training", [True, False])
def test_embedding_has_unit_length_at_the_last_stages_stride(decoder: str, training: bool) -> None:
    prediction = build(decoder, embedding_channels=6).train(training)(pyramid())
    assert prediction.embedding.shape == (2, 6, 4, 5)
    assert torch.allclose(prediction.embedding.norm(dim=1), torch.ones(2, 4, 5), atol=1e-6)
    assert prediction.embedding.flatten(2).std(2).gt(1e-3).all()  # differs between pixels


@every_decoder
def test_embedding_has_unit_length_under_autocast(decoder: str) -> None:
    model = build(decoder, embedding_channels=6)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = model(pyramid()).embedding
    assert torch.allclose(embedding.norm(dim=1), torch.ones(2, 4, 5), atol=1e-6)


@every_decoder
def test_no_layers_are_added_without_embedding(decoder: str) -> None:
    plain, embedding = build(decoder), build(decoder, embedding_channels=6)
    shared = {
        key: value for key, value in embedding.state_dict().items() if "projection" not in key
    }
    assert plain.state_dict().keys() == shared.keys()
    assert all(torch.equal(value, shared[key]) for key, value in plain.state_dict().items())
    assert plain(pyramid()).embedding is None
    # Two convolutions with biases, and the scale and shift of a batch normalization.
    added = (16 * 16 + 16) + 2 * 16 + (16 * 6 + 6)
    assert sum(p.numel() for p in embedding.parameters()) == added + sum(
        p.numel() for p in plain.parameters()
    )


@every_decoder
def test_embedding_depends_only_on_the_last_stage_and_the_projection(decoder: str) -> None:
    model = build(decoder, embedding_channels=6)
    features = [level.requires_grad_() for level in pyramid()]
    embedding = model(features).embedding
    direction = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(1))
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(
        (embedding * direction).sum(), [*features, *named.values()], allow_unused=True
    )
    reached = [gradient is not None and bool(gradient.any()) for gradient in gradients]
    assert reached[:3] == [False, False, True]
    for (name, parameter), is_reached in zip(named.items(), reached[3:], strict=True):
        # Except biases before a batch normalization, which subtracts the mean.
        if parameter.ndim > 1:
            assert is_reached == ("projection" in name), name


@every_decoder
@pytest.mark.parametrize("loss", ["tree_triplet", "hssn"])
def test_loss_and_decoder_agree_on_the_channels(decoder: str, loss: str) -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c"]})
    criterion = registry.losses.get(loss)(hierarchy=hierarchy, channels=6)
    model = build(decoder, embedding_channels=criterion.embedding_channels)
    prediction = model(pyramid())
    size = prediction.logits[-1].shape[-2:]
    logits = tuple(torch.nn.functional.interpolate(level, size) for level in prediction.logits)
    leaves = torch.randint(3, (2, *size), generator=torch.Generator().manual_seed(2))
    terms = criterion(prediction._replace(logits=logits), hierarchy.paths[leaves].movedim(-1, 1))
    assert terms["tree_triplet"] > 0
    gradient = torch.autograd.grad(terms["tree_triplet"], model.projection.layers[0].weight)[0]
    assert gradient.ne(0).any()


def test_published_embedding_has_256_channels() -> None:
    for loss in ("tree_triplet", "hssn"):
        factory = registry.losses.get(loss)
        assert inspect.signature(factory).parameters["channels"].default == 256
        assert factory(hierarchy=Hierarchy.from_tree(["a"])).embedding_channels == 256
