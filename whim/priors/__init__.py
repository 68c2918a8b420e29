"""Pose priors from data: the user's ARCTIC (paper, section 3) or the user's own labels."""
