"""A split in the cache or in its files: decoded, resized and checked once, then read by row."""
