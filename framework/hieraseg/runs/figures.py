"""Figures of the images of a store."""

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image

from hieraseg.data.batches import load
from hieraseg.data.store import Store
from hieraseg.inference.segmenter import Segmenter, predict_batch
from hieraseg.visualize import draw


def draw_rows(
    fabric: Fabric, segmenter: Segmenter, store: Store, rows: list[int]
) -> list[Image.Image]:
    """Draw the predictions of some images of a store (see `visualize.draw`)."""
    segmenter.model.eval()
    figures = []
    for batch in load(store, [torch.tensor([row]) for row in rows], False):
        predictions = predict_batch(fabric, segmenter, batch.to(fabric.device).images)
        classes = segmenter.rule(segmenter.scores(predictions, batch.masks.shape[1:]))
        targets = segmenter.hierarchy.encode(batch.masks)
        image = batch.images[0].permute(1, 2, 0).numpy()
        figures.append(
            draw(image, classes[0].cpu().numpy(), segmenter.hierarchy, targets[0].numpy())
        )
    return figures


def spread_rows(images: int, wanted: int) -> list[int]:
    """Select rows that are spread evenly over a split, the same each time."""
    return np.linspace(0, images - 1, min(wanted, images)).round().astype(int).tolist()
