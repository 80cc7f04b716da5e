"""What a user of an exported file has to know, as JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hieraseg
from hieraseg.exporting.module import output_names
from hieraseg.exporting.plans import Plan
from hieraseg.runs.environment import versions
from hieraseg.runs.loading import LoadedRun
from hieraseg.runs.records import sha256
from hieraseg.visualize import palette

_RESIZING = {
    "stretch": "to `size`, whatever the image's aspect ratio",
    "shorter": "keep the aspect ratio; the shorter side (the height of a square) gets its length "
    "in `size`",
    "longer": "keep the aspect ratio; the longer side (the height of a square) gets its length "
    "in `size`",
    "none": "not at all",
}


def describe_file(
    file: Path, name: str, loaded: LoadedRun, checkpoint: str, plan: Plan, check: Any
) -> dict[str, Any]:
    """Content of the JSON file beside an exported file.

    Args:
        file: where the file is now.
        name: how it will be called.
        loaded: the run.
        checkpoint: which of its checkpoints.
        plan: which images the file takes.
        check: how far file and model agree, or None if that is not known.
    """
    hierarchy, recipe = loaded.segmenter.hierarchy, loaded.recipe
    return {
        "file": name,
        "sha256": sha256(file),
        "run": str(loaded.folder.path),
        "checkpoint": checkpoint,
        "epoch": loaded.metadata["epoch"],
        "classes": hierarchy.level_names,
        "parents": [parents.tolist() for parents in hierarchy.parents],
        "colors": [[list(color) for color in colors] for colors in palette(hierarchy)],
        "background": hierarchy.background,
        "preprocessing": _preprocessing(plan),
        "inputs": _inputs(plan),
        "outputs": _outputs(loaded, plan),
        "activation": loaded.segmenter.activation,
        "inference": recipe.to_dict()["inference"],
        "evaluation": f"whole images; the run's own is {loaded.own_protocol.tta}",
        "check": check,
        "versions": {"hieraseg": hieraseg.__version__, **versions()},
    }


def _preprocessing(plan: Plan) -> dict[str, Any]:
    model, rule = plan.model, plan.resizing.resize
    return {
        "orientation": "upright, by the EXIF orientation, as ImageOps.exif_transpose of Pillow",
        "resize": rule,
        "size": None if rule == "none" else list(plan.resizing.size),
        "how": f"{_RESIZING[rule]}; bilinear with antialiasing, as Image.resize of Pillow",
        "range": "RGB divided by 255; mean and std are subtracted and divided by inside",
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
    }


def _inputs(plan: Plan) -> Mapping[str, Any]:
    height, width = plan.size or ("height", "width")
    image = {"dtype": "float32", "shape": ["batch", 3, height, width]}
    if plan.size is not None:
        return {"image": image}
    return {
        "image": image,
        "size": {"dtype": "int64", "shape": [2], "meaning": "height and width of the outputs"},
    }


def _outputs(loaded: LoadedRun, plan: Plan) -> Mapping[str, Any]:
    predicted, levels = loaded.metadata["num_classes"], loaded.segmenter.hierarchy.num_classes
    size = plan.size or ("size[0]", "size[1]")
    *floats, classes = output_names(len(predicted), len(levels))
    found = {
        name: {"dtype": "float32", "shape": ["batch", channels, *size]}
        for name, channels in zip(floats, (*predicted, *levels), strict=True)
    }
    return {**found, classes: {"dtype": "int64", "shape": ["batch", len(levels), *size]}}
