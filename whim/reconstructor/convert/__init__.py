"""Foreign checkpoints to WHIM's weights, once. Nothing in a checkpoint is run."""

from whim.reconstructor.convert.released import convert_checkpoint
from whim.reconstructor.convert.vitpose import convert_vitpose

__all__ = ["convert_checkpoint", "convert_vitpose"]
