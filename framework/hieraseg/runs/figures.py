"""Pictures of a store's images."""

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image

from hieraseg.data.batches import load
from hieraseg.data.store import Store
from hieraseg.inference.segmenter import Segmenter
from hieraseg.metrics.scoring import answer
from hieraseg.visualize import draw


def draw_rows(
    fabric: Fabric, segmenter: Segmenter, store: Store, rows: list[int]
) -> list[Image.Image]:
    """Pictures of some of a store's images (see `visualize.draw`)."""
    segmenter.model.eval()
    pictures = []
    for batch in load(store, [torch.tensor([row]) for row in rows], False):
        predictions = answer(fabric, segmenter, batch.to(fabric.device).images)
        classes = segmenter.rule(segmenter.scores(predictions, batch.masks.shape[1:]))
        truth = segmenter.hierarchy.encode(batch.masks)
        image = batch.images[0].permute(1, 2, 0).numpy()
        pictures.append(
            draw(image, classes[0].cpu().numpy(), segmenter.hierarchy, truth[0].numpy())
        )
    return pictures


def spread_rows(images: int, wanted: int) -> list[int]:
    """Rows of the images to draw, spread over the split, the same each time."""
    return np.linspace(0, images - 1, min(wanted, images)).round().astype(int).tolist()
