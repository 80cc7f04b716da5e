"""From images to classes: test-time augmentation, scores, and the inference rule on them."""
