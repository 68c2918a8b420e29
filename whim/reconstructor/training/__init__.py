"""Training of the reconstructor: its recipe and its task. The loop itself is `whim.training`."""
