"""The parts that train together, a step, and what is recorded of it."""
