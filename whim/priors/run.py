"""``whim prior fit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whim import __version__
from whim.errors import UsageError
from whim.hands.select import OPEN_HAND, load_hand
from whim.priors.arctic import FPS, LICENCE, QUANTILE, read_arctic
from whim.priors.file import TrainedPrior, explained, save, train
from whim.priors.labels import LEAST_SCORE, MOST_RESIDUAL, read_labels


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
            "explained": {str(d): share for d, share, _ in explained(self.prior)},
            "outside_mm": {str(d): 1e3 * away for d, _, away in explained(self.prior)},
            "skipped": self.skipped,
        }

    def render(self) -> str:
        """Text for the terminal."""
        record = self.prior.record
        spread = np.degrees(np.sqrt(np.diag(self.prior.angle_covariance))).mean()
        table = explained(self.prior)
        lines = [
            f"{self.out}: learned from {_counts(record)}, for {self.prior.mesh.topology}",
            "components (d of eq. 4) " + "".join(f"{d:>9}" for d, _, _ in table),
            "variance within them    " + "".join(f"{100 * share:>7.2f} %" for _, share, _ in table),
            "rms distance of vertices" + "".join(f"{1e3 * away:>6.2f} mm" for _, _, away in table),
            f"spread of the angles: {spread:.1f} degrees on average",
        ]
        lines += [f"skipped: {problem}" for problem in self.skipped[:10]]
        if len(self.skipped) > 10:
            lines.append(f"... and {len(self.skipped) - 10} more files")
        lines.append(f"use it: whim annotate --set fit.prior={self.out}")
        return "\n".join(lines)


def _counts(record: dict[str, Any]) -> str:
    """Where the hands come from, in words."""
    if record["source"] == "ARCTIC":
        skipped = f", {record['skipped']} files skipped" if record["skipped"] else ""
        return (
            f"{record['hands']} hands in {record['frames']} frames of {record['sequences']} sequences of "
            f"ARCTIC{skipped}"
        )
    refused = ", ".join(f"{reason} {count}" for reason, count in record["refused"].items())
    return f"{record['hands']} of {record['seen']} labelled hands" + (f" ({refused})" if refused else "")


def from_arctic(
    root: Path,
    mano: Path,
    out: Path,
    *,
    hand: str | None = None,
    fps: float = FPS,
    quantile: float = QUANTILE,
) -> PriorReport:
    """Train the paper's prior from the user's ARCTIC and MANO files.

    ``hand``: the model whose mesh it is for, the user's MANO without it. On the open hand, poses mean nearly but not
    exactly the same (its rest pose differs by some degrees), and ARCTIC's shapes mean nothing: random ones are taken.

    Raises: as ``read_arctic`` and ``train``; UsageError when ``out`` is a folder.
    """
    _check_out(out)
    model = load_hand(hand or str(mano))
    harvest = read_arctic(root, mano, fps=fps, quantile=quantile)
    poses, betas = np.concatenate(harvest.poses), np.concatenate(harvest.betas)
    if hand == OPEN_HAND:
        betas = np.clip(np.random.default_rng(0).normal(size=(len(poses), 10)), -2.5, 2.5)
    record = {
        "source": "ARCTIC",
        "sequences": harvest.sequences,
        "frames": harvest.frames,
        "skipped": len(harvest.skipped),
        "fps": fps,
        "quantile": quantile,
        "licence": LICENCE,
        "whim_version": __version__,
        "borrowed_rest_pose": hand == OPEN_HAND,
    }
    return _finish(out, train(model, betas, poses, record), harvest.skipped)


def from_labels(
    folders: Sequence[Path],
    out: Path,
    *,
    hand: str = OPEN_HAND,
    most_residual: float = MOST_RESIDUAL,
    least_score: float = LEAST_SCORE,
) -> PriorReport:
    """Train a prior from good fits in label folders.

    Raises: as ``read_labels`` and ``train``; UsageError when ``out`` is a folder.
    """
    _check_out(out)
    model = load_hand(hand)
    fits = read_labels(folders, model, most_residual=most_residual, least_score=least_score)
    record = {
        "source": "labels",
        "folders": [folder.name for folder in folders],
        "seen": fits.seen,
        "refused": dict(fits.refused),
        "most_residual": most_residual,
        "least_score": least_score,
        "licence": "that of the labels",
        "whim_version": __version__,
    }
    return _finish(out, train(model, fits.betas, fits.poses, record), [])


def _finish(out: Path, prior: TrainedPrior, skipped: list[str]) -> PriorReport:
    save(out, prior)
    return PriorReport(out, prior, skipped)


def _check_out(out: Path) -> None:
    """Reading ARCTIC takes minutes: refuse before it what cannot be written after it."""
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; name a file, for example {out / 'prior.npz'}")
