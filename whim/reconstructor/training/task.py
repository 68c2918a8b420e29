"""The reconstructor as the loop sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whim.metrics.pose import pa_mpjpe
from whim.reconstructor.data.batches import CropBatch, CropSource
from whim.reconstructor.losses.objective import Objective
from whim.reconstructor.losses.truth import Truth
from whim.reconstructor.network import Reconstruction, Reconstructor, normalise
from whim.reconstructor.training.sheets import write_sheet
from whim.reconstructor.weights import save_network
from whim.training.distributed import Group
from whim.training.loader import Loader

SAMPLES = 12
_NAMED = 20


class ReconstructorTask:
    """Implements :class:`whim.training.task.Task`."""

    monitor = "pa_mpjpe"
    larger_is_better = False

    def __init__(
        self,
        *,
        model: Reconstructor,
        objective: Objective,
        training: CropSource,
        validation: CropSource,
        batch: int,
        workers: int,
        recipe: dict[str, Any],
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self.model: nn.Module = model
        self.recipe = recipe
        self._objective = objective
        self._training = training
        self._validation = validation
        self._batch = batch
        self._device = device
        self._say = say
        pin = device.type == "cuda"
        self._loader: Loader[CropBatch] = Loader(training, workers=workers, pin=pin)
        self._val_loader: Loader[CropBatch] = Loader(validation, workers=min(workers, 2), pin=pin)
        self._broken: set[str] = set()
        self._sheet: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @property
    def samples(self) -> int:
        """Positions in an epoch."""
        return len(self._training)

    def batches(self, epoch: int, shares: Sequence[range], skip: int) -> Iterator[CropBatch]:
        """Varied crops on the device."""
        for batch in self._loader.batches(epoch, shares, skip):
            self._note(batch)
            yield batch.to(self._device)

    def loss(self, model: nn.Module, batch: CropBatch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 8 without its adversarial term, and its parts."""
        result = model(normalise(batch.pictures))
        return self._objective(result, self._complete(batch.truth))

    def validate(self, model: nn.Module, group: Group) -> dict[str, float]:
        """PA-MPJPE in millimetres of the coarse and of the final hands, their 2D error in % of the crop, the loss."""
        rows = range(
            group.rank * len(self._validation) // group.size,
            (group.rank + 1) * len(self._validation) // group.size,
        )
        shares = [rows[start : start + self._batch] for start in range(0, len(rows), self._batch)]
        errors: dict[str, list[float]] = {"coarse": [], "final": [], "coarse_2d": [], "final_2d": []}
        losses: list[float] = []
        self._sheet = []
        for batch in self._val_loader.batches(0, shares):
            self._note(batch)
            moved = batch.to(self._device)
            result = model(normalise(moved.pictures))
            truth = self._complete(moved.truth)
            losses.append(float(self._objective(result, truth)[0]))
            _add_errors(errors, result, moved.truth)
            for row in range(min(len(batch.pictures), SAMPLES - len(self._sheet))):
                points = result.final.keypoints_2d[row].float().cpu().numpy()
                self._sheet.append(
                    (batch.pictures[row].numpy(), points, batch.truth.keypoints_2d[row].numpy())
                )
        gathered = {name: group.gather(values) for name, values in errors.items()}
        losses = group.gather(losses)
        mean = {name: float(np.mean(values)) if values else float("nan") for name, values in gathered.items()}
        return {
            "pa_mpjpe": 1e3 * mean["final"],
            "pa_mpjpe_coarse": 1e3 * mean["coarse"],
            "error_2d": 100 * mean["final_2d"],
            "error_2d_coarse": 100 * mean["coarse_2d"],
            "val_loss": float(np.mean(losses)) if losses else float("nan"),
        }

    def epoch_done(
        self, model: nn.Module, folder: Path, epoch: int, metrics: dict[str, float], *, best: bool
    ) -> None:
        """Write the weights and the sheet of samples."""
        assert isinstance(model, Reconstructor)
        facts = {"epoch": epoch + 1, "metrics": metrics, "recipe": self.recipe}
        save_network(model, folder / "last.safetensors", **facts)
        if best:
            save_network(model, folder / "best.safetensors", **facts)
        if self._sheet:
            write_sheet(folder / "samples" / f"epoch-{epoch + 1:04d}.jpg", self._sheet)

    def _complete(self, truth: Truth) -> Truth:
        """The truth with the vertices and, where only parameters are known, the joints that follow from them."""
        known = truth.hand_pose_valid * truth.global_orient_valid * truth.betas_valid
        hand = self.model.hand if isinstance(self.model, Reconstructor) else self.model.module.hand
        with torch.no_grad():
            eye = torch.eye(3, device=known.device)
            rotations = torch.where(known[:, None, None, None] > 0, truth.rotations, eye)
            vertices, keypoints = hand(rotations, truth.betas)
        # Vertices count from the same origin as the keypoints they come with: those of the parameters.
        joints = torch.where(known[:, None, None] > 0, keypoints, truth.keypoints_3d)
        valid = torch.where(
            known[:, None] > 0, torch.ones_like(truth.keypoints_3d_valid), truth.keypoints_3d_valid
        )
        return replace(
            truth, vertices=vertices, vertices_valid=known, keypoints_3d=joints, keypoints_3d_valid=valid
        )

    def _note(self, batch: CropBatch) -> None:
        for text in batch.broken:
            if text not in self._broken:
                self._broken.add(text)
                if len(self._broken) <= _NAMED:
                    self._say(f"picture left out: {text}")


def _add_errors(errors: dict[str, list[float]], result: Reconstruction, truth: Truth) -> None:
    full = truth.keypoints_3d_valid.bool().all(dim=1).cpu().numpy()
    wanted = truth.keypoints_3d.float().cpu().numpy()
    shown = truth.keypoints_2d_valid.cpu().numpy()
    for name, estimate in (("coarse", result.coarse), ("final", result.final)):
        points = estimate.keypoints.float().cpu().numpy()
        if full.any():
            errors[name] += pa_mpjpe(points[full], wanted[full]).tolist()
        apart = (
            torch.linalg.vector_norm(estimate.keypoints_2d.float() - truth.keypoints_2d, dim=-1).cpu().numpy()
        )
        any_shown = shown.sum(axis=1) > 0
        mean = (apart * shown).sum(axis=1)[any_shown] / shown.sum(axis=1)[any_shown]
        errors[f"{name}_2d"] += mean.tolist()
