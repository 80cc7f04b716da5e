"""Tests of the shipped optimizers."""
