"""Fitting the parametric hand to 2D keypoints (paper section 3, eqs. 2-4)."""
