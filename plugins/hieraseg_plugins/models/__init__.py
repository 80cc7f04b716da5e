"""Shipped models: networks that are not split into backbone and decoder."""
