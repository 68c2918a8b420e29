"""Imported by the fork server: whatever torch loads late is loaded once, and children start at once."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from training.tiny_task import train

_earlier, sys.stderr = sys.stderr, open(os.devnull, "w")  # noqa: SIM115, PTH123 - the progress bar
with tempfile.TemporaryDirectory() as _folder:
    train(Path(_folder), epochs=1, say=lambda text: None)
sys.stderr.close()
sys.stderr = _earlier
