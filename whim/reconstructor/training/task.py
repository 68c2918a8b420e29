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
from whim.reconstructor.training.adversary import PER_HAND, Contest, RealHands, reconstructor_of
from whim.reconstructor.training.sheets import write_sheet
from whim.reconstructor.weights import save_network
from whim.training.broken import BrokenPictures
from whim.training.distributed import Group
from whim.training.loader import Loader
from whim.training.sampler import shares_of_whole

SAMPLES = 12
"""Validation crops on the sheet of each epoch."""


class ReconstructorTask:
    """Implements :class:`whim.training.task.Task`."""

    monitor = "pa_mpjpe"
    larger_is_better = False

    def __init__(
        self,
        *,
        model: Reconstructor | Contest,
        real: RealHands | None,
        objective: Objective,
        training: CropSource,
        validation: CropSource,
        batch: int,
        workers: int,
        recipe: dict[str, Any],
        device: torch.device,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.model: nn.Module = model
        self.recipe = recipe
        self._real = real
        self._objective = objective
        self._training = training
        self._validation = validation
        self._batch = batch
        self._device = device
        pin = device.type == "cuda"
        self._loader: Loader[CropBatch] = Loader(training, workers=workers, pin=pin)
        self._val_loader: Loader[CropBatch] = Loader(validation, workers=min(workers, 2), pin=pin)
        self._broken = BrokenPictures(folder, say)
        self._sheet: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @property
    def samples(self) -> int:
        """Positions in an epoch."""
        return len(self._training)

    def batches(self, epoch: int, shares: Sequence[range], skip: int) -> Iterator[CropBatch]:
        """Varied crops on the device."""
        for batch in self._loader.batches(epoch, shares, skip):
            self._broken.note(batch.broken)
            yield batch.to(self._device)

    def loss(self, model: nn.Module, batch: CropBatch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 8 and its parts; together with the discriminator's own loss where there is one."""
        pictures = normalise(batch.pictures)
        if self._real is None:
            return self._objective(model(pictures), self._complete(batch.truth))
        real = self._real.draw(PER_HAND * len(pictures), self._device)
        result, fooled, found = model(pictures, *real)
        loss, terms = self._objective(result, self._complete(batch.truth))
        return loss + fooled + found, {**terms, "adversarial": fooled, "discriminator": found}

    def validate(self, model: nn.Module, group: Group) -> dict[str, float]:
        """PA-MPJPE in millimetres of the coarse and of the final hands, their 2D error in % of the crop, the loss."""
        shares = shares_of_whole(len(self._validation), self._batch, rank=group.rank, world=group.size)
        network = reconstructor_of(model)
        errors: dict[str, list[float]] = {"coarse": [], "final": [], "coarse_2d": [], "final_2d": []}
        losses: list[tuple[float, int]] = []
        self._sheet = []
        for batch in self._val_loader.batches(0, shares):
            self._broken.note(batch.broken)
            moved = batch.to(self._device)
            result = network(normalise(moved.pictures))
            truth = self._complete(moved.truth)
            losses.append((float(self._objective(result, truth)[0]), len(truth)))
            _add_errors(errors, result, moved.truth, truth)
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
            "val_loss": sum(value * count for value, count in losses) / max(1, sum(c for _, c in losses)),
            "broken": self._broken.count(group),
        }

    def epoch_done(
        self, model: nn.Module, folder: Path, epoch: int, metrics: dict[str, float], *, best: bool
    ) -> None:
        """Write the weights and the sheet of samples."""
        network = reconstructor_of(model)
        facts = {"epoch": epoch + 1, "metrics": metrics, "recipe": self.recipe}
        save_network(network, folder / "last.safetensors", **facts)
        if best:
            save_network(network, folder / "best.safetensors", **facts)
        if self._sheet:
            write_sheet(folder / "samples" / f"epoch-{epoch + 1:04d}.jpg", self._sheet)

    def _complete(self, truth: Truth) -> Truth:
        """The truth with the vertices and, where only parameters are known, the joints that follow from them."""
        known = truth.hand_pose_valid * truth.global_orient_valid * truth.betas_valid
        hand = reconstructor_of(self.model).hand
        # In half precision the truth itself would be half a millimetre off.
        with torch.no_grad(), torch.autocast(known.device.type, enabled=False):
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


def _add_errors(
    errors: dict[str, list[float]], result: Reconstruction, labelled: Truth, completed: Truth
) -> None:
    """Against the labelled joints; against those of the labelled parameters where there are no others."""
    own = labelled.keypoints_3d_valid.bool().all(dim=1)
    full = (own | completed.keypoints_3d_valid.bool().all(dim=1)).cpu().numpy()
    wanted = torch.where(own[:, None, None], labelled.keypoints_3d, completed.keypoints_3d)
    wanted = wanted.float().cpu().numpy()
    truth = labelled
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
