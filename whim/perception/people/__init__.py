"""Person detectors: one file per system."""
