"""What several benchmarks share: their options, and a model to measure."""

import argparse
import os
from pathlib import Path

import torch
from lightning_fabric import Fabric

from hieraseg import Hierarchy, registry
from hieraseg.devices import start_fabric
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.build import build_backbone, build_model
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.recipe import Recipe, load
from hieraseg.settings import Evaluation, Input

RECIPE = Path(__file__).parents[1] / "recipes/pascal_part/lite0_cpu.yaml"


def options(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with `--rounds`, `--threads` and `--cpu`.

    Args:
        description: the docstring of the script.
        rounds: default number of measurements per job.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="measure CPU time, not wall time")
    return parser


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add `--root`, the folder of Pascal-Part."""
    variable = "HIERASEG_PASCAL_PART"
    parser.add_argument(
        "--root",
        type=Path,
        default=os.environ.get(variable),
        required=variable not in os.environ,
        help=f"folder of Pascal-Part (default: ${variable})",
    )


def lite0(hierarchy: Hierarchy) -> tuple[Recipe, SegmentationModel]:
    """`recipes/pascal_part/lite0_cpu.yaml`, and its model with random weights."""
    torch.manual_seed(0)
    recipe = load(RECIPE)
    backbone = build_backbone(recipe, pretrained=False)
    return recipe, build_model(recipe, backbone, hierarchy, hierarchy.num_classes)


def lite0_segmenter(
    device: str, evaluation: Evaluation, seen: Input | None = None
) -> tuple[Fabric, Segmenter]:
    """The model of `lite0` in evaluation, whose classes form the best path.

    Args:
        device: `cpu` or `cuda`.
        evaluation: how it predicts.
        seen: how images are resized; by default not.
    """
    fabric, hierarchy = start_fabric(device), registry.hierarchies.get("pascal_part")()
    model = lite0(hierarchy)[1].eval().to(fabric.device).to(memory_format=torch.channels_last)
    rule = registry.inference.get("best_path")(hierarchy=hierarchy)
    return fabric, Segmenter(model, "softmax", rule, hierarchy, evaluation, seen or Input())
