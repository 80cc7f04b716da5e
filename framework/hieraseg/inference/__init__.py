"""Inference: test-time augmentation, and from logits to scores to classes."""
