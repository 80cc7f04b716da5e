"""Parameters, operations and speed of backbones with decoders: the table of `docs/models.md`.

Models are those of a recipe with three levels of 2, 3 and 7 classes, all arguments at their
defaults, with random weights. Operations are those of a forward pass of one image.
"""

import argparse
import re
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from hieraseg import registry
from hieraseg.model.build import build_backbone, build_model
from hieraseg.recipe import load
from hieraseg.training.cost import count_flops

RECIPE = Path(__file__).parents[1] / "recipes/pascal_part/lite0_cpu.yaml"
SIDE = 224
HEADER = ["backbone", "decoder", "parameters", "GFLOPs", "images/s"]


class Combination(NamedTuple):
    """A backbone, with the name of its model if it wraps many, and a decoder."""

    backbone: str
    decoder: str

    def build(self) -> nn.Module:
        """The model, in evaluation."""
        name, _, model = self.backbone.partition(" ")
        section = {"name": name, **({"model": model} if model else {})}
        overrides = [("backbone", str(section)), ("decoder", self.decoder)]
        recipe = load(RECIPE, overrides)
        hierarchy = registry.hierarchies.get("pascal_part")()
        backbone = build_backbone(recipe, pretrained=False)
        return build_model(recipe, backbone, hierarchy, hierarchy.num_classes).eval()


class Cost(NamedTuple):
    """Number of parameters, and floating point operations of a forward pass of one image."""

    parameters: int
    flops: int


COMBINATIONS = (
    *(
        Combination("efficientnet_lite", decoder)
        for decoder in ("linear", "skip", "unet", "fpn", "deeplabv3plus", "pan")
    ),
    *(
        Combination("resnet50", decoder)
        for decoder in ("skip", "unet", "unetplusplus", "deeplabv3plus", "upernet")
    ),
    Combination("timm mobilenetv3_large_100", "linknet"),
    Combination("timm regnety_016", "fpn"),
    Combination("timm regnety_016", "manet"),
    Combination("timm convnext_tiny", "fpn"),
    Combination("timm convnext_tiny", "upernet"),
    Combination("timm swin_tiny_patch4_window7_224", "upernet"),
    Combination("timm pvt_v2_b1", "segformer"),
    Combination("timm vit_small_patch16_224", "linear"),
    Combination("timm vit_small_patch14_dinov2", "dpt"),
)


def cost(combination: Combination) -> Cost:
    """What a model costs, without memory for its weights."""
    with torch.device("meta"), torch.no_grad():
        model = combination.build()
        flops = count_flops(partial(model, torch.empty(1, 3, SIDE, SIDE)))
    return Cost(sum(one.numel() for one in model.parameters()), flops)


def cells(combination: Combination, costs: Cost) -> list[str]:
    """The cells of a row of the table but for the speed."""
    parameters, flops = f"{costs.parameters / 1e6:.1f} M", f"{costs.flops / 1e9:.1f}"
    return [f"`{combination.backbone}`", f"`{combination.decoder}`", parameters, flops]


@torch.inference_mode()
def images_per_second(combination: Combination, args: argparse.Namespace) -> float:
    """Images per second of forward passes, the fastest of some."""
    model = combination.build().to(memory_format=torch.channels_last)
    images = torch.rand(args.batch_size, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    clock = time.process_time if args.cpu else time.perf_counter
    seconds = []
    for _ in range(args.rounds + 1):
        started = clock()
        model(images)
        seconds.append(clock() - started)
    return args.batch_size / min(seconds[1:])


def table(rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [HEADER, ["---", "---", *["---:"] * 3], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="measure CPU time, not wall time")
    parser.add_argument("--write", type=Path, help="replace the table of this file, not print it")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [[*cells(one, cost(one)), f"{images_per_second(one, args):.1f}"] for one in COMBINATIONS]
    if args.write is None:
        print(table(rows), end="")
        return
    text = args.write.read_text(encoding="utf-8")
    args.write.write_text(re.sub(r"(^\|.*\n)+", table(rows), text, count=1, flags=re.MULTILINE))


if __name__ == "__main__":
    main()
