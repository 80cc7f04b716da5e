"""Images per second of the store with batch augmentation, compared with a per-image loader.

The loader decodes, resizes and augments one image after the other with torchvision, as the
`__getitem__` of a data set usually does, and stacks them. Probabilities and magnitudes are the
same.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from common import add_root, options
from predecessor import Persons
from rounds import median_seconds
from torch import Tensor

from hieraseg import Draws
from hieraseg.data.batches.views import Step, StretchedView, View
from hieraseg.data.sampling import generator, training_order
from hieraseg.data.stores.store import open_store
from hieraseg.settings import Augmentation, Input
from hieraseg_plugins.datasets.pascal_part import PascalPart
from hieraseg_plugins.hierarchies.pascal_part import pascal_part
from hieraseg_plugins.transforms.blur import Blur
from hieraseg_plugins.transforms.photometric import Photometric

Batches = Callable[[list[Tensor]], None]


def from_view(view: View) -> Batches:
    """Read the batches of a view and augment them."""
    epochs = iter(range(1_000_000))

    def run(order: list[Tensor]) -> None:
        epoch = next(epochs)
        steps = [
            Step(rows, Draws(generator(0, epoch, step), len(rows)))
            for step, rows in enumerate(order, 1)
        ]
        for batch in view.load(steps):
            view.augment(batch)

    return run


def per_image(root: Path, ids: list[str], side: int) -> Batches:
    """Decode, resize and augment image by image, and stack them."""
    dataset = Persons(root, ids, side, augment=True)

    def run(steps: list[Tensor]) -> None:
        for rows in steps:
            images, masks = zip(*(dataset[row] for row in rows.tolist()), strict=True)
            torch.stack(images), torch.stack(masks)

    return run


def main() -> None:
    parser = options(__doc__, rounds=9)
    add_root(parser)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6, help="batches per round")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    hierarchy = pascal_part()
    dataset = PascalPart(hierarchy, args.root)
    usual = Augmentation(crop=0.5, affine=0.5, scale=(0.85, 1.15), rotate=30, shift=0.1)
    off = Augmentation(crop=0, flip=0, affine=0)
    cpu = torch.device("cpu")
    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("HIERASEG_CACHE", cache)
        store = open_store(dataset, "val", hierarchy, Input(size=(args.size, args.size)))
        steps = training_order(len(store), args.batch_size, seed=0, epoch=0)[: args.steps]
        whole = StretchedView(store, usual, [Photometric(), Blur()], hierarchy, cpu)
        jobs = {
            "per-image loader": per_image(args.root, store.ids, args.size),
            "store only": from_view(StretchedView(store, off, [], hierarchy, cpu)),
            "store and augmentation": from_view(whole),
        }
        seconds = median_seconds(
            {name: lambda job=job: job(steps) for name, job in jobs.items()}, args.rounds, args.cpu
        )
    images = sum(len(rows) for rows in steps)
    slowest = seconds["per-image loader"]
    for name, value in seconds.items():
        print(f"{name:24} {images / value:8.0f} images/s  {slowest / value:6.2f}x")


if __name__ == "__main__":
    main()
