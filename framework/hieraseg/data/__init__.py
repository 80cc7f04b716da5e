"""Images and masks of data sets: read, checked, counted and ordered."""
