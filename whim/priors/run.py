"""``whim prior fit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whim import __version__
from whim.hands.select import OPEN_HAND, load_hand
from whim.priors.arctic import LICENCE, read_arctic
from whim.priors.file import TrainedPrior, explained, save, train
from whim.priors.labels import read_labels


@dataclass(frozen=True)
class PriorReport:
    """What was learned."""

    out: Path
    prior: TrainedPrior
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "out": str(self.out),
            "topology": self.prior.mesh.topology,
            **self.prior.record,
            "explained": explained(self.prior),
            "skipped": self.skipped,
        }

    def render(self) -> str:
        """Text for the terminal."""
        record = self.prior.record
        shares = ", ".join(f"d={d}: {100 * share:.1f} %" for d, share in explained(self.prior).items())
        spread = np.degrees(np.sqrt(np.diag(self.prior.angle_covariance))).mean()
        lines = [
            f"{self.out}: learned from {record['hands']} hands of {record['source']}, for {self.prior.mesh.topology}",
            f"variance within the components kept: {shares}",
            f"spread of the angles: {spread:.1f} degrees on average",
        ]
        lines += [f"skipped: {problem}" for problem in self.skipped[:10]]
        if len(self.skipped) > 10:
            lines.append(f"... and {len(self.skipped) - 10} more files")
        lines.append(f"use it: whim annotate --set fit.prior={self.out}")
        return "\n".join(lines)


def from_arctic(root: Path, mano: Path, out: Path, *, hand: str | None = None) -> PriorReport:
    """Train the paper's prior from the user's ARCTIC and MANO files.

    ``hand``: the model whose mesh it is for, the user's MANO without it. On the open hand, poses mean nearly but not
    exactly the same (its rest pose differs by some degrees), and ARCTIC's shapes mean nothing: random ones are taken.

    Raises: as ``read_arctic`` and ``train``.
    """
    model = load_hand(hand or str(mano))
    harvest = read_arctic(root, mano)
    poses, betas = np.concatenate(harvest.poses), np.concatenate(harvest.betas)
    if hand == OPEN_HAND:
        betas = np.clip(np.random.default_rng(0).normal(size=(len(poses), 10)), -2.5, 2.5)
    record = {
        "source": "ARCTIC",
        "sequences": harvest.sequences,
        "skipped": len(harvest.skipped),
        "licence": LICENCE,
        "whim_version": __version__,
        "borrowed_rest_pose": hand == OPEN_HAND,
    }
    prior = train(model, betas, poses, record)
    save(out, prior)
    return PriorReport(out, prior, harvest.skipped)


def from_labels(folders: Sequence[Path], out: Path, *, hand: str = OPEN_HAND) -> PriorReport:
    """Train a prior from good fits in label folders.

    Raises: as ``read_labels`` and ``train``.
    """
    model = load_hand(hand)
    betas, poses = read_labels(folders, model)
    record = {
        "source": "labels",
        "folders": [folder.name for folder in folders],
        "licence": "that of the labels",
        "whim_version": __version__,
    }
    prior = train(model, betas, poses, record)
    save(out, prior)
    return PriorReport(out, prior, [])
