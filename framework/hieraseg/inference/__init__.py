"""Inference: from images to logits to scores to classes, with test-time augmentation."""
