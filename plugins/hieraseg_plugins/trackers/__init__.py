"""Trackers, which show a run while it trains."""
