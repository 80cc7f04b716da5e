"""Augmentation as part of a captured or compiled training step: a function of device tensors."""

from typing import Any

import numpy as np
import pytest
import torch

from hieraseg import registry
from hieraseg.contracts import Transform, has_argument
from hieraseg.data.batches import views
from hieraseg.data.batches.batch import map_tensors
from hieraseg.data.batches.views import Step, View, open_view
from hieraseg.data.sampling import generator
from hieraseg.draws import Draws
from hieraseg.settings import Augmentation, Input
from hieraseg.testing.capturing import CUDA, on_fake_tensors
from tests.plugins.test_models import shipped
from tests.support.augmentation import LEFT_RIGHT
from tests.support.sampling import random_image
from tests.support.stores import memory_store
from tests.support.tracing import without_shape_checks

CPU = torch.device("cpu")
SHAPE = (16, 20)
GEOMETRY: dict[str, Any] = {"scale": (0.4, 2.0), "rotate": 30, "shift": 0.2, "flip": 0.5}
"""Changes of images that are stretched, and of those that are cropped."""


def built(name: str) -> Transform:
    factory = registry.transforms.get(name)
    supplied = {"hierarchy": LEFT_RIGHT} if has_argument(factory, "hierarchy") else {}
    transform: Transform = factory(**supplied)
    return transform


def opened(resize: Any, transforms: list[Transform], device: torch.device = CPU) -> View:
    images = [random_image(*SHAPE, seed=row) for row in range(4)]
    masks = [np.full(SHAPE, row, np.uint8) for row in range(4)]
    settings = Input(size=SHAPE, resize=resize)
    augmentation = Augmentation(**GEOMETRY, crop=0.5 if resize == "stretch" else 0)
    store = memory_store(images, masks)
    return open_view(store, settings, augmentation, transforms, LEFT_RIGHT, device, (0, 0.5, 1))


def first_batch(view: View) -> Any:
    return next(view.load([Step(torch.arange(4), Draws(generator(1, 1, 1), 4))]))


@pytest.mark.slow
@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("resize", ["stretch", "none"])
def test_views_can_be_captured_and_compiled(
    monkeypatch: pytest.MonkeyPatch, resize: str, resident: bool
) -> None:
    """With all transforms. The contract suites check each of them alone."""
    monkeypatch.setattr(views, "fits", lambda *_: resident)
    transforms = [built(name) for name in shipped(registry.transforms)]
    view = opened(resize, transforms)
    batch = first_batch(view)
    images, masks = view.augment(batch)
    with without_shape_checks():
        torch.compiler.reset()
        compiled = torch.compile(view.augment, fullgraph=True, backend="eager")
        found, labels = compiled(batch)
        torch.testing.assert_close(found, images, rtol=0, atol=1e-5)
        assert torch.equal(labels, masks)
        with on_fake_tensors(copies=True) as allowed:
            on_cuda = opened(resize, transforms, CUDA)  # copies tables, as the start of a run
            moved = map_tensors(lambda one: allowed.fake(one, CUDA), batch)
            allowed.copies = False
            results = on_cuda.augment(moved)
    for result, expected in zip(results, (images, masks), strict=True):
        assert result.device.type == "cuda"
        assert result.shape == expected.shape
        assert result.dtype == expected.dtype
