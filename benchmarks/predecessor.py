"""Train and evaluate the plain way that most papers' code does, and measure images per second.

Written anew, as the reference that hieraseg is compared with: a ResNet-50 whose decoder has one
branch per level (as `skip` does), weighted cross-entropy, and

- a loader that decodes, resizes and augments image by image in worker processes,
- eager steps in float16 with a gradient scaler on CUDA, in float32 on a CPU,
- a look at the loss after each step,
- evaluation image by image at the model's resolution, with counts in NumPy.

With `--ours RECIPE`, a recipe is measured in turns with it: its data, which are decoded once and
augmented in its step, and evaluation with all counts at the targets' own resolution.
`--section.key VALUE` changes the recipe.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import add_root
from PIL import Image
from rounds import medians
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models import resnet50
from torchvision.transforms import InterpolationMode, v2

from hieraseg.cli.overrides import Overrides, split_overrides
from hieraseg.data.shapes import evaluation_input
from hieraseg.data.stores.targets import open_scored
from hieraseg.data.subset import FirstImages
from hieraseg.metrics.scoring import score_split
from hieraseg.recipe import load
from hieraseg.recipe.dataset import build_dataset, data_digest
from hieraseg.training.graph import open_step
from hieraseg.training.setup import set_up
from hieraseg.training.throughput import ThroughputMeter

LEVEL_WEIGHTS = (0.1, 0.4, 1.0)
NUM_CLASSES = (2, 3, 7)
# Class of each label on levels 1, 2 and 3.
CLASSES = torch.tensor([[0, 1, 1, 1, 1, 1, 1], [0, 1, 1, 2, 1, 2, 1], [0, 1, 2, 3, 4, 5, 6]])
PARAMETERS = 47_922_124


class Persons(Dataset):
    """Images of Pascal-Part, uint8 masks `[side, side]`.

    Args:
        root: folder of the data set.
        ids: the images.
        side: height and width that they are resized to.
        augment: change images at random.
    """

    def __init__(self, root: Path, ids: Sequence[str], side: int, augment: bool) -> None:
        self.root, self.ids, self.side, self.augment = root, ids, side, augment
        bilinear = InterpolationMode.BILINEAR
        self.geometry = v2.Compose(
            [
                v2.RandomApply([v2.RandomResizedCrop(side, (0.8, 1.0))], 0.5),
                v2.RandomHorizontalFlip(0.5),
                v2.RandomApply([v2.RandomAffine(30, (0.1, 0.1), (0.85, 1.15), None, bilinear)]),
            ]
        )
        self.jitter = v2.ColorJitter(0.2, 0.2, 0.2, 0.05)
        self.noise = v2.GaussianNoise(sigma=0.025)
        self.blur = v2.RandomApply([v2.GaussianBlur(7, (0.1, 1.5))])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        """An image, float32 `[3, side, side]` in 0..1, and its mask."""
        id, size = self.ids[row], (self.side, self.side)
        picture = Image.open(self.root / "JPEGImages" / f"{id}.jpg").convert("RGB")
        labels = Image.fromarray(np.load(self.root / "gt_masks" / f"{id}.npy"))
        pixels = v2.functional.pil_to_tensor(picture.resize(size, Image.Resampling.BILINEAR))
        mask = tv_tensors.Mask(np.array(labels.resize(size, Image.Resampling.NEAREST)))
        if not self.augment:
            return pixels / 255, mask.as_subclass(Tensor)
        image, mask = self.geometry(tv_tensors.Image(pixels), mask)
        photometric, noisy = torch.rand(2).lt(0.5).tolist()
        if photometric and not noisy:  # on uint8, where torchvision is fastest
            image = self.jitter(image)
        image = image.as_subclass(Tensor) / 255
        if photometric and noisy:
            image = self.noise(image)
        return self.blur(image), mask.as_subclass(Tensor)


class Branch(nn.Module):
    """Blocks of two convolutions from the last stage up, and a classifier."""

    def __init__(self, widths: Sequence[int], channels: Sequence[int], classes: int) -> None:
        super().__init__()
        skips = [0, *channels[-2::-1]]
        above = [channels[-1], *widths[:-1]]
        self.blocks = nn.ModuleList(
            nn.Sequential(*convolution(own + skip, width), *convolution(width, width))
            for own, skip, width in zip(above, skips, widths, strict=False)
        )
        self.classifier = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        features = self.blocks[0](pyramid[-1])
        for block, skip in zip(self.blocks[1:], pyramid[-2::-1], strict=False):
            features = F.interpolate(features, skip.shape[-2:], mode="bilinear", align_corners=True)
            features = block(torch.cat((features, skip), dim=1))
        return self.classifier(features)


def convolution(inputs: int, outputs: int) -> list[nn.Module]:
    """A 3x3 convolution with batch normalization and ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(True)]


class Network(nn.Module):
    """ResNet-50 with random weights, and a branch per level.

    It takes float32 images `[B, 3, H, W]` in 0..1, and returns logits `[B, classes, H, W]` per
    level, coarsest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet50()
        del self.backbone.fc
        channels = (256, 512, 1024, 2048)
        widths = ((256, 128), (256, 128, 64), (256, 256, 128, 64))
        self.branches = nn.ModuleList(
            Branch(widths_, channels, classes)
            for widths_, classes in zip(widths, NUM_CLASSES, strict=True)
        )
        self.normalize = v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def forward(self, images: Tensor) -> list[Tensor]:
        body, pyramid = self.backbone, []
        features = body.maxpool(body.relu(body.bn1(body.conv1(self.normalize(images)))))
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            features = stage(features)
            pyramid.append(features)
        size = images.shape[-2:]
        return [
            F.interpolate(branch(pyramid), size, mode="bilinear", align_corners=False)
            for branch in self.branches
        ]


class Trainer:
    """Training steps and evaluation.

    Args:
        device: device of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.model = Network().to(device)
        count = sum(parameter.numel() for parameter in self.model.parameters())
        assert count == PARAMETERS, f"the model has {count} parameters"
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 3e-4, weight_decay=0.01)
        self.is_mixed = device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.is_mixed)
        self.classes = CLASSES.to(device)

    def step(self, images: Tensor, masks: Tensor) -> float:
        """One training step on a batch of the loader. Returns its loss."""
        self.model.train()
        images, masks = images.to(self.device), masks.to(self.device)
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.float16, enabled=self.is_mixed):
            loss = images.new_zeros(())
            for weight, table, logits in zip(
                LEVEL_WEIGHTS, self.classes, self.model(images), strict=True
            ):
                loss = loss + weight * F.cross_entropy(logits, table[masks.long()])
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, batches: Iterator[list[Tensor]]) -> list[float]:
        """Mean IoU of each level, over batches of one image."""
        self.model.eval()
        counts = [np.zeros((classes, classes), np.int64) for classes in NUM_CLASSES]
        for images, masks in batches:
            with torch.autocast(self.device.type, torch.float16, enabled=self.is_mixed):
                outputs = self.model(images.to(self.device))
            for count, table, logits in zip(counts, CLASSES.numpy(), outputs, strict=True):
                predicted, true = logits.argmax(1).cpu().numpy(), table[masks.numpy()]
                cells = np.bincount((true * len(count) + predicted).ravel(), minlength=count.size)
                count += cells.reshape(count.shape)
        return [mean_iou(count) for count in counts]


def mean_iou(counts: np.ndarray) -> float:
    """Mean IoU of the classes that occur, background excluded, from a confusion matrix."""
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    iou = counts.diagonal()[1:] / np.maximum(union[1:], 1)
    return float(iou[union[1:] > 0].mean()) if (union[1:] > 0).any() else float("nan")


class Measurement:
    """Images per second of each part. All run once before they are measured.

    Args:
        args: the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.steps, self.batch, self.workers = args.steps, args.batch, args.workers
        self.trainer = Trainer(args.device)
        train = read_ids(args.root / "train_id.txt")[:2400]
        holdout = read_ids(args.root / "val_id.txt")
        self.train = Persons(args.root, train, args.size, augment=True)
        self.holdout = Persons(args.root, holdout[: args.images], args.size, augment=False)
        self.constant = next(self.batches(1))

    def batches(self, count: int) -> Iterator[list[Tensor]]:
        """A number of random training batches, from workers."""
        rows = torch.randint(len(self.train), (count * self.batch,)).tolist()
        return iter(
            DataLoader(
                self.train,
                self.batch,
                sampler=rows,
                num_workers=self.workers,
                pin_memory=self.trainer.is_mixed,
            )
        )

    def jobs(self) -> dict[str, Callable[[], float]]:
        """The measurements by name."""
        return {
            "data alone": self.loader,
            "step alone": self.step,
            "end to end": self.both,
            "evaluation": self.evaluation,
        }

    def loader(self) -> float:
        """Batches that nobody uses."""
        return self._rate(self._warm(), lambda batch: None)

    def step(self) -> float:
        """Steps on the same batch."""
        return self._rate(iter([self.constant] * self.steps), lambda one: self.trainer.step(*one))

    def both(self) -> float:
        """Steps on the batches of the loader."""
        return self._rate(self._warm(), lambda batch: self.trainer.step(*batch))

    def evaluation(self) -> float:
        """Evaluation of images of the hold-out, with the start of the workers."""
        started = time.perf_counter()
        loader = DataLoader(self.holdout, num_workers=self.workers)
        self.trainer.evaluate(iter(loader))
        return len(self.holdout) / (time.perf_counter() - started)

    def _warm(self) -> Iterator[list[Tensor]]:
        """Batches after those that the workers read ahead while they start."""
        ahead = 2 * self.workers
        batches = self.batches(ahead + self.steps)
        for _ in range(ahead):
            next(batches)
        return batches

    def _rate(self, batches: Iterator[list[Tensor]], use) -> float:
        self._synchronize()
        started = time.perf_counter()
        for batch in batches:
            use(batch)
        self._synchronize()
        return self.steps * self.batch / (time.perf_counter() - started)

    def _synchronize(self) -> None:
        if self.trainer.is_mixed:
            torch.cuda.synchronize()


class Ours:
    """Images per second of a recipe of hieraseg.

    Args:
        args: the command line.
        overrides: values that replace those of the recipe.
    """

    def __init__(self, args: argparse.Namespace, overrides: Overrides) -> None:
        own = [
            ("data.root", args.root),
            ("input.size", [args.size, args.size]),
            ("training.batch_size", args.batch),
            ("training.device", args.device.type),
            ("training.epochs", 1000),  # more than are measured
        ]
        given = [(key, str(value)) for key, value in own] + overrides
        recipe = load(args.ours, given, [])
        self.parts, state = set_up(recipe)
        self.parts.forward.train()
        self.meter = ThroughputMeter(self.parts, open_step(self.parts, state), args.steps)
        hierarchy = self.parts.hierarchy
        dataset = FirstImages(build_dataset(recipe, hierarchy), args.images)
        seen = evaluation_input(recipe.input, recipe.evaluation)
        code = data_digest(recipe, dataset)
        self.scored = open_scored(dataset, "holdout", hierarchy, seen, recipe.evaluation, code)

    def jobs(self) -> dict[str, Callable[[], float]]:
        """The measurements by name."""
        return {
            "data alone": self.meter.data,
            "step alone": self.meter.step,
            "end to end": self.meter.both,
            "evaluation": self.evaluation,
        }

    def evaluation(self) -> float:
        """Evaluation of images of the hold-out."""
        store, targets = self.scored
        started = time.perf_counter()
        score_split(self.parts.fabric, self.parts.segmenter, targets, store)
        duration = time.perf_counter() - started
        self.parts.forward.train()
        return len(store) / duration


def read_ids(path: Path) -> list[str]:
    """The ids of a file, one per line."""
    return path.read_text().split()


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_root(parser)
    parser.add_argument("--ours", metavar="RECIPE", help="recipe that is measured beside it")
    parser.add_argument("--device", default="cuda" if cuda else "cpu", type=torch.device)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50 if cuda else 3, help="steps per round")
    parser.add_argument("--images", type=int, default=707 if cuda else 16, help="to evaluate")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    words, overrides = split_overrides(sys.argv[1:], parser)
    args = parser.parse_args(words)
    torch.manual_seed(0)
    jobs = Measurement(args).jobs()
    if args.ours is not None:
        jobs |= {f"ours: {name}": job for name, job in Ours(args, overrides).jobs().items()}
    rates = medians(jobs, args.rounds)
    if args.json:
        print(json.dumps(rates))
        return
    for name, rate in rates.items():
        print(f"{name:20} {rate:8.1f} images/s")


if __name__ == "__main__":
    main()
