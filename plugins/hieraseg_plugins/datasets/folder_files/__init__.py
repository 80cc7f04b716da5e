"""What the data set `folder` is made of."""
