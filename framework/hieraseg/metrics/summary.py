"""Scores from counts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics.calibration import calibration_error

Counts = Mapping[str, Int[np.ndarray, "..."]]
"""The counts of `PixelCounts` or `SplitCounts`, as NumPy arrays."""

_OVERLAP = ("intersection", "predicted", "truth")


def summarize(counts: Counts, hierarchy: Hierarchy) -> dict[str, Any]:
    """Compute the scores of a split, as stored in `result.json`. Undefined scores are None.

    On each level only pixels with a known target count. Counts are summed over the split first.
    Means over classes exclude background and classes without a score.

    Scores of a level, from `PixelCounts`:

    * `iou` per class: intersection over union. None for a class that is in neither the target nor
      the prediction, 0 for one that is only predicted. `miou`: its mean. `miou_with_background`:
      its mean over all classes.
    * `miou_per_image`: mean over the IoU of each image and class, background excluded. Only for
      comparison with results that were published that way.
    * `accuracy` per class: the fraction of its pixels that are predicted correctly (recall). None
      for a class that is not in the target. `mean_accuracy`: its mean. `pixel_accuracy`: the same
      fraction of all pixels, background included.
    * `dice` per class: 2 intersection / (target + prediction), which is the F1 score.
      `mean_dice`: its mean.
    * `frequency_weighted_iou`: IoU weighted by the number of target pixels of each class,
      background included.

    Scores of a level, from `SplitCounts` only:

    * `boundary_iou` per class: IoU of the pixels near a boundary (see `BoundaryCounts`).
      `mean_boundary_iou`: its mean.
    * `ece`: expected calibration error of the predicted class. `classwise_ece`: mean over the
      calibration errors of all classes, background included.
    * `sibling_mistakes`: fraction of the errors whose prediction has the same parent as the
      target. None on level 1.

    Scores over all levels:

    * `coherence`: fraction of pixels whose predictions form a path of the tree.
    * `mistake_distance`: mean tree distance between wrong leaves and target leaves in edges. All
      leaves are on level L, so the distance between leaves of different roots is 2 L.
    * `sibling_mistakes`: that of the leaves (`SplitCounts` only).
    * `hierarchical_precision`, `hierarchical_recall`, `hierarchical_f1` (`SplitCounts` only;
      Kiritchenko et al. 2006): the fraction of predicted classes that are in the target, the
      fraction of target classes that are predicted, and their harmonic mean (see `TreeCounts`).
      They differ only where chains or incoherent predictions make the sets differ in size.

    Args:
        counts: counts of a split, one row per image.
        hierarchy: the class tree.
    """
    levels = [
        {
            "level": level + 1,
            **_overlap_scores(counts, hierarchy, level),
            **_extra_scores(counts, hierarchy, level),
        }
        for level in range(hierarchy.num_levels)
    ]
    total = {key: int(counts[key].sum()) for key in ("pixels", "coherent", "mistakes", "distance")}
    scores = {
        "levels": levels,
        "coherence": _ratio(total["coherent"], total["pixels"]),
        "mistake_distance": _ratio(total["distance"], total["mistakes"]),
    }
    if "set_truth" in counts:
        sizes = {key: int(counts[f"set_{key}"].sum()) for key in _OVERLAP}
        shared = sizes["intersection"]
        scores |= {
            "sibling_mistakes": levels[-1]["sibling_mistakes"],
            "hierarchical_precision": _ratio(shared, sizes["predicted"]),
            "hierarchical_recall": _ratio(shared, sizes["truth"]),
            "hierarchical_f1": _ratio(2 * shared, sizes["predicted"] + sizes["truth"]),
        }
    return {**scores, "images": len(counts["pixels"])}


def _overlap_scores(counts: Counts, hierarchy: Hierarchy, level: int) -> dict[str, Any]:
    """Scores of a level from `PixelCounts`."""
    per_image = [counts[f"{count}_{level + 1}"] for count in _OVERLAP]
    intersection, predicted, target = (count.sum(0) for count in per_image)
    iou = _iou(intersection, predicted, target)
    accuracy = _divide(intersection, target)
    dice = _divide(2 * intersection, predicted + target)
    names, foreground = hierarchy.level_names[level], _foreground(hierarchy, level)
    return {
        "miou": _mean(iou[foreground]),
        "miou_with_background": _mean(iou),
        "miou_per_image": _mean(_iou(*per_image)[:, foreground]),
        "mean_accuracy": _mean(accuracy[foreground]),
        "pixel_accuracy": _ratio(int(intersection.sum()), int(target.sum())),
        "mean_dice": _mean(dice[foreground]),
        "frequency_weighted_iou": _ratio(float(np.nansum(target * iou)), int(target.sum())),
        "iou": _by_name(names, iou),
        "accuracy": _by_name(names, accuracy),
        "dice": _by_name(names, dice),
    }


def _extra_scores(counts: Counts, hierarchy: Hierarchy, level: int) -> dict[str, Any]:
    """Scores of a level that need `SplitCounts`; empty without them."""
    number = level + 1
    if f"boundary_truth_{number}" not in counts:
        return {}
    iou = _iou(*(counts[f"boundary_{count}_{number}"].sum(0) for count in _OVERLAP))
    errors = counts[f"truth_{number}"].sum() - counts[f"intersection_{number}"].sum()
    siblings = counts[f"siblings_{number}"].sum() if level else None
    return {
        "mean_boundary_iou": _mean(iou[_foreground(hierarchy, level)]),
        "ece": _number(calibration_error(counts[f"calibration_{number}"])),
        "classwise_ece": _mean(calibration_error(counts[f"classwise_calibration_{number}"])),
        "sibling_mistakes": None if siblings is None else _ratio(int(siblings), int(errors)),
        "boundary_iou": _by_name(hierarchy.level_names[level], iou),
    }


def _foreground(hierarchy: Hierarchy, level: int) -> Bool[np.ndarray, " C"]:
    """Mask of the classes that are not background."""
    background = hierarchy.background_index(level)
    return np.arange(hierarchy.num_classes[level]) != (-1 if background is None else background)


def _iou(
    intersection: Int[np.ndarray, "*N C"],
    predicted: Int[np.ndarray, "*N C"],
    target: Int[np.ndarray, "*N C"],
) -> Float[np.ndarray, "*N C"]:
    """Intersection over union; NaN for classes that are in neither."""
    return _divide(intersection, predicted + target - intersection)


def _divide(
    part: Int[np.ndarray, "*shape"], whole: Int[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Elementwise quotient; NaN where the denominator is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: Float[np.ndarray, "..."]) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _number(value: Float[np.ndarray, ""] | float) -> float | None:
    return None if np.isnan(value) else float(value)


def _by_name(names: list[str], values: Float[np.ndarray, " C"]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(names, values, strict=True)}
