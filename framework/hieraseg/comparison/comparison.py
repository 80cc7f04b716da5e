"""What `hieraseg compare` knows of some rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hieraseg.comparison.difference import Difference
from hieraseg.comparison.rows import Row


@dataclass(frozen=True)
class Comparison:
    """Rows on one split.

    Attributes:
        split: split and protocol, as in `val@flip`.
        rows: the rows, in the order in which they are shown.
        baseline: the row that all others are compared to, if there is one.
        differences: differences of each row to the baseline by title, one per level, coarsest
            first; the baseline has none.
        class_differences: the same for each class of each level, if requested.
        notes: what a reader has to know of these rows: other protocols, how epochs were chosen.
    """

    split: str
    rows: Sequence[Row]
    baseline: Row | None = None
    differences: Mapping[str, Sequence[Difference]] = field(default_factory=dict)
    class_differences: Mapping[str, Sequence[Difference]] = field(default_factory=dict)
    notes: Sequence[str] = ()
