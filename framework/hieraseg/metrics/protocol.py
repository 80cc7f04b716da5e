"""What the scores of a split are known by: how they were computed, and their key."""

from typing import Any

from hieraseg.data.shapes import evaluation_input
from hieraseg.data.stores.store import Store
from hieraseg.hierarchy import Hierarchy
from hieraseg.hierarchy.identity import record
from hieraseg.settings import Evaluation, Input


def protocol(
    store: Store,
    seen: Input,
    hierarchy: Hierarchy,
    settings: Evaluation,
    precision: str,
    checkpoint: str,
    epoch: int,
    step: int | None = None,
) -> dict[str, Any]:
    """How a split was scored: written into `result.json` beside the scores."""
    seen = evaluation_input(seen, settings)
    return {
        "resolution": settings.resolution,
        "size": list(seen.size),
        "resize": seen.resize,
        "tta": settings.tta,
        "data": store.fingerprint,
        "tree": record(hierarchy),
        "precision": precision,
        "checkpoint": checkpoint,
        "epoch": epoch,
        **({} if step is None else {"step": step}),
    }


def score_key(split: str, checkpoint: str, settings: Evaluation, own: Evaluation) -> str:
    """Key of the scores of a split in `result.json`.

    It is the split, and what differs from the run's own protocol: `val`, `holdout`, `val@last`,
    `val@flip,scales=0.5+1`.

    Args:
        split: the split.
        checkpoint: `best` or `last`; a run's own scores are those of `best`.
        settings: the protocol.
        own: the protocol of the run's recipe.
    """
    words = [checkpoint] if checkpoint != "best" else []
    if settings.flip != own.flip:
        words.append("flip" if settings.flip else "no-flip")
    if sorted(settings.scales) != sorted(own.scales):
        words.append("scales=" + "+".join(f"{scale:.15g}" for scale in sorted(settings.scales)))
    if settings.window != own.window:
        window = settings.window
        words.append(f"window={window[0]}x{window[1]}" if window else "no-window")
    if settings.window and settings.window_overlap != own.window_overlap:
        words.append(f"overlap={settings.window_overlap:.15g}")
    return f"{split}@{','.join(words)}" if words else split


def settings_of(key: str) -> dict[str, Any]:
    """What the key of scores changes in the evaluation settings of the run (see `score_key`)."""
    settings: dict[str, Any] = {}
    for word in key.partition("@")[2].split(","):
        name, _, value = word.partition("=")
        if name in ("flip", "no-flip"):
            settings["flip"] = name == "flip"
        elif name == "scales":
            settings["scales"] = tuple(map(float, value.split("+")))
        elif name in ("window", "no-window"):
            settings["window"] = tuple(map(int, value.split("x"))) if value else None
        elif name == "overlap":
            settings["window_overlap"] = float(value)
    return settings
