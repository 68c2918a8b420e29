"""Training of the detector: its recipe, its task, how it is measured. The loop itself is `whim.training`."""
