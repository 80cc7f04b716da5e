"""Several runs of one command: the jobs of seeds and sweeps, and what runs them."""
