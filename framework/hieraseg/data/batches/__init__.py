"""What a training step sees of a store: stretched images or random crops, in batches."""
