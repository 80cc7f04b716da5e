"""The coarse-to-fine model: finer levels read the probabilities of the coarser."""

from typing import Any

import torch
from torch import Tensor, nn

from hieraseg import registry

CoarseToFine = registry.models.get("coarse_to_fine")


class _Backbone(nn.Module):
    """Three stages of strides 2, 4 and 8."""

    channels, strides = [4, 5, 6], [2, 4, 8]
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, 2, 1) for inputs, outputs in ((3, 4), (4, 5), (5, 6))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        pyramid = [image]
        for layer in self.layers:
            pyramid.append(layer(pyramid[-1]).relu())
        return pyramid[1:]


def build(num_classes: list[int], **arguments: Any) -> Any:
    torch.manual_seed(0)
    return CoarseToFine(backbone=_Backbone(), num_classes=num_classes, width=8, **arguments).eval()


def test_attributes_are_those_of_its_backbone() -> None:
    model = build([2, 3])
    assert (model.stride, model.mean, model.std) == (8, _Backbone.mean, _Backbone.std)


def test_each_head_reads_the_probabilities_one_level_above() -> None:
    """A head's inputs are the features, and the softmax of the logits of the level above."""
    model = build([2, 3, 7])
    seen: list[Tensor] = []
    for head in model.heads:
        head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits, embedding, auxiliary = model(torch.rand(2, 3, 32, 48))
    assert embedding is None
    assert auxiliary is None
    assert [tuple(one.shape) for one in logits] == [(2, n, 16, 24) for n in (2, 3, 7)]
    assert [one.shape[1] for one in seen] == [8, 8 + 2, 8 + 3]
    for inputs, above in zip(seen[1:], logits, strict=False):
        assert torch.equal(inputs[:, :8], seen[0])
        torch.testing.assert_close(inputs[:, 8:], above.softmax(1))


def test_a_finer_level_depends_on_the_coarser_one_and_does_not_train_it() -> None:
    model = build([2, 3])
    image = torch.rand(1, 3, 16, 16)
    before = model(image).logits
    before[1].square().mean().backward()
    assert all(one.grad is None for one in model.heads[0].parameters())
    assert all(one.grad is not None for one in model.backbone.parameters())
    with torch.no_grad():
        model.heads[0][-1].bias += torch.tensor([2.0, -2.0])
    after = model(image).logits
    assert not torch.allclose(after[1], before[1])


def test_leaves_alone() -> None:
    model = build([7], embedding_channels=5)
    prediction = model(torch.rand(1, 3, 17, 23))
    assert [tuple(one.shape) for one in prediction.logits] == [(1, 7, 9, 12)]
    assert prediction.embedding.shape[:2] == (1, 5)
