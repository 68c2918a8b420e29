"""Hand detectors: one file per system."""
