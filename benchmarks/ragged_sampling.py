"""Images per second of random crops of images of any shape, compared with torchvision v2.

Images are decoded already. Both ways use the same number of threads, and make the same changes:
scale, crop, flip and, with color, jitter of brightness, contrast, saturation and hue.
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from common import options
from rounds import median_seconds
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from hieraseg import Draws
from hieraseg.data.batches.cropping import Cropping
from hieraseg.data.batches.resident import ResidentStore
from hieraseg.data.batches.views import Step, View, open_view
from hieraseg.data.batches.warping import Frame, StoreSampler
from hieraseg.data.sampling import generator
from hieraseg.data.stores.store import Store
from hieraseg.settings import Augmentation, Input
from hieraseg_plugins.hierarchies.pascal_part import pascal_part
from hieraseg_plugins.transforms.photometric import Photometric

SHAPE, SCALE, FILL = (375, 500), (0.5, 2.0), (0.485, 0.456, 0.406)
CPU = torch.device("cpu")


def random_store(images: int) -> Store:
    """Smooth random images with all levels, and masks of blobs."""
    random = generator(0, 0)
    height, width = SHAPE
    levels: list[list[np.ndarray]] = [[], [], []]
    masks = []
    for _ in range(images):
        small = torch.rand(1, 3, height // 8, width // 8, generator=random)
        for level, stored in enumerate(levels):
            sides = (-(-height // 2**level), -(-width // 2**level))
            large = torch.nn.functional.interpolate(small, sides, mode="bilinear")
            stored.append((large[0] * 255).byte().permute(1, 2, 0).contiguous().numpy())
        blobs = torch.randint(0, 7, (height // 25, width // 25), generator=random)
        masks.append(blobs.repeat_interleave(25, 0).repeat_interleave(25, 1).byte().numpy())
    return Store(
        ids=[str(row) for row in range(images)],
        shapes=np.array([SHAPE] * images, np.int64),
        label_pixels=np.zeros(256, np.int64),
        fingerprint="",
        images=tuple(stored.__getitem__ for stored in levels),
        masks=masks.__getitem__,
    )


def from_view(view: View, rows: Sequence[Tensor]) -> Callable[[], object]:
    """Load the batches of a view, and augment them."""
    epochs = iter(range(1_000_000))

    def run() -> None:
        epoch = next(epochs)
        steps = [
            Step(own, Draws(generator(0, epoch, step), len(own))) for step, own in enumerate(rows)
        ]
        for batch in view.load(steps):
            view.augment(batch)

    return run


def per_image(
    store: Store, rows: Sequence[Tensor], side: int, threads: int, color: bool
) -> Callable[[], object]:
    """Change image by image with torchvision in threads, and stack the images of each batch."""
    fill = {tv_tensors.Image: [round(255 * one) for one in FILL], tv_tensors.Mask: 255}
    shorter = [round(factor * min(SHAPE)) for factor in SCALE]
    geometry = v2.Compose(
        [
            v2.RandomResize(shorter[0], shorter[1] + 1),
            v2.RandomCrop(side, pad_if_needed=True, fill=fill),
            v2.RandomHorizontalFlip(0.5),
        ]
    )
    jitter = v2.ColorJitter(0.2, 0.2, 0.2, 0.05)  # on uint8, where torchvision is fastest
    to_float = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)

    def item(row: int) -> tuple[Tensor, Tensor]:
        image = tv_tensors.Image(torch.from_numpy(store.image(row)).permute(2, 0, 1))
        image, mask = geometry(image, tv_tensors.Mask(torch.from_numpy(store.mask(row))))
        return to_float(jitter(image) if color else image, mask)

    def run() -> None:
        with ThreadPoolExecutor(threads) as pool:
            for own in rows:
                images, masks = zip(*pool.map(item, own.tolist()), strict=True)
                torch.stack(images), torch.stack(masks)

    return run


def samplers(store: Store, rows: Tensor, side: int) -> dict[str, Callable[[], object]]:
    """The ways to sample the crops of one batch."""
    hierarchy = pascal_part()
    cropping = Cropping(store, Augmentation(scale=SCALE), (side, side), hierarchy)
    crops = cropping(rows, Draws(generator(0, 0), len(rows)))
    frame = Frame((side, side), FILL, hierarchy.void_value)
    resident = ResidentStore(store, 2, CPU)
    compiled = torch.compile(resident.crops)
    arguments = rows, crops.matrices, crops.levels, frame
    one_by_one = StoreSampler(store, frame)
    return {
        "grid_sample, image by image": lambda: one_by_one(rows, crops),
        "gathered, eager": lambda: resident.crops(*arguments),
        "gathered, compiled": lambda: compiled(*arguments),
    }


def main() -> None:
    parser = options(__doc__, rounds=7)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4, help="batches per round")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    store = random_store(args.batch_size)
    rows = [torch.arange(args.batch_size)] * args.steps
    images = args.batch_size * args.steps
    settings = Input(size=(args.size, args.size), resize="none")
    for title, transforms in (
        ("without color", []),
        ("with color", [Photometric(probability=1, noise=0)]),
    ):
        view = open_view(
            store, settings, Augmentation(scale=SCALE), transforms, pascal_part(), CPU, FILL
        )
        color = bool(transforms)
        jobs = {
            "torchvision, image by image": per_image(store, rows, args.size, args.threads, color),
            "view": from_view(view, rows),
        }
        report(title, jobs, images, args)
    report("sampling alone, one batch", samplers(store, rows[0], args.size), args.batch_size, args)


def report(
    title: str, jobs: dict[str, Callable[[], object]], images: int, args: argparse.Namespace
) -> None:
    """Time jobs, and print their images per second and the ratio to the first one."""
    seconds = median_seconds(jobs, args.rounds, args.cpu)
    print(title)
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:28} {images / value:8.0f} images/s  {first / value:6.2f}x")


if __name__ == "__main__":
    main()
