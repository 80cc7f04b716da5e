"""What changes while a run trains."""

from dataclasses import dataclass

from hieraseg.metrics import Counts


@dataclass
class State:
    """What changes while a run trains, beside the weights."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    best_counts: Counts | None = None
