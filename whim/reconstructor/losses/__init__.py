"""What the reconstructor is trained towards (eq. 8)."""

from whim.reconstructor.losses.discriminator import Discriminator
from whim.reconstructor.losses.objective import Objective
from whim.reconstructor.losses.truth import Truth

__all__ = ["Discriminator", "Objective", "Truth"]
