"""Images and masks: decoded once into a store, ordered and augmented deterministically."""
