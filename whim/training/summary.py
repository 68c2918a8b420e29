"""How a training ended, and the settings it leaves in its folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whim import __version__
from whim.config import Config, config_hash
from whim.files import write_text
from whim.training.run import FitResult


@dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """How a training ended."""

    fit: FitResult
    data: dict[str, Any]
    """What was trained and validated on."""
    is_main: bool
    """Whether this process is the one that talks, of those that `torchrun` started."""

    @property
    def exit_code(self) -> int:
        """0, or 128 + the number of the signal that stopped it."""
        return self.fit.exit_code

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        best = self.fit.best_value
        return {
            "out": str(self.fit.folder),
            "ended": self.fit.ended,
            "epochs": self.fit.epoch,
            "steps": self.fit.step,
            "monitor": self.fit.monitor,
            "best": None if math.isnan(best) else best,
            "best_epoch": self.fit.best_epoch,
            "data": self.data,
        }

    def render(self) -> str:
        """Text for the terminal."""
        fit = self.fit
        lines = [f"{fit.folder}: {fit.epoch} epochs, {fit.step} steps ({fit.ended})"]
        if fit.best_epoch:
            lines.append(
                f"best {fit.monitor} {fit.best_value:.4g} in epoch {fit.best_epoch}: best.safetensors"
            )
        return "\n".join(lines)


def note_settings(folder: Path, config: Config, data: dict[str, Any]) -> None:
    """Leave the resolved settings and what was trained on in a run folder: ``config.json``, ``data.json``."""
    settings = {"whim_version": __version__, "hash": config_hash(config), **config.model_dump(mode="json")}
    write_text(folder / "config.json", json.dumps(settings, indent=1) + "\n")
    write_text(folder / "data.json", json.dumps(data, indent=1) + "\n")
