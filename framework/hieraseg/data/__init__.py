"""Images and masks: decoded once, read in batches, ordered and augmented deterministically."""
