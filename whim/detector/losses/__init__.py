"""Assignment and losses of the detector (eq. 5)."""
