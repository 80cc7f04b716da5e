"""Scores of a split, computed from integer counts that are accumulated on the device.

A run stores its counts per image, not its predictions: any protocol (per data set, per image,
bootstrap) can be computed from them later. Integer sums do not depend on the order of the images,
the number of processes or the batch size.
"""

from hieraseg.metrics.pixels import PixelCounts
from hieraseg.metrics.split import SplitCounts
from hieraseg.metrics.summary import Counts, summarize
from hieraseg.metrics.watched import WatchedCounts

__all__ = ["Counts", "PixelCounts", "SplitCounts", "WatchedCounts", "summarize"]
