"""Resampling statistics of differences between scores, on arrays of counts."""
