"""The model: backbone and decoder put together, its weights."""
