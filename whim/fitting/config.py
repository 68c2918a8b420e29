"""Settings of the fit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from whim.config import Config


class PaperConfig(Config):
    """The first-order solver on the losses of eqs. 2-4 (section 3).

    The paper names the losses and prints no weight, no d and no step. Where nothing else is said, the numbers
    are ours, chosen on projections of random hands that no table is made from. Lengths in the picture are in
    units of the hand's box, those of the hand in palms (wrist to middle knuckle). A weight of 0 switches its
    term off.
    """

    projection: float = Field(default=1.0, ge=0)
    """Weight of eq. 2: mean L1 distance of the projected joints from the keypoints, each by its confidence."""
    weak_perspective: bool = False
    """Eq. 2's pi is weak perspective. Ours is full perspective, which equals it for distant hands and is right
    for near ones; this switch gives the paper's."""
    biomechanics: float = Field(default=0.3, ge=0)
    """Weight of eq. 3, L_BL + L_A: excess of bone lengths (palms) and joint angles (radians) over their limits."""
    root_bones: bool = False
    """Add the third loss of Spurr et al., L_RB, on the palm. Eq. 3 leaves it out."""
    mesh_prior: float = Field(default=0.3, ge=0)
    """Weight of eq. 4: distance of the mesh from the PCA space, root mean square over its vertices, palms."""
    components: int = Field(default=10, ge=1, le=45)
    """d of eq. 4. The more components, the less the prior says."""
    vertices: int | None = Field(default=None, ge=16, le=778)
    """Take eq. 4 over so many vertices spread over the mesh, with a PCA of their own: faster, hardly less exact.
    null: all of them, as in the paper."""
    shape: float = Field(default=0.002, ge=0)
    """Weight of |beta|^2. Not in the paper; size and distance are not told apart without it."""
    iterations: int = Field(default=200, ge=1)
    """Steps of Adam from the most promising start. The paper does not name its optimiser."""
    screening: int = Field(default=20, ge=0)
    """Steps from every start, after which the lowest energy decides which start goes on."""
    learning_rate: float = Field(default=0.03, gt=0)
    """Length of Adam's first steps: radians, box units, standard deviations of the shape / 2."""


class FitConfig(Config):
    """Weights and effort of the fit. Defaults: smallest error on rendered hands with exact truth."""

    solver: Literal["lm", "paper"] = "lm"
    """``lm``: batched Levenberg-Marquardt; ``paper``: first-order on the literal losses of eqs. 2-4, which needs
    the extra ``train``."""
    paper: PaperConfig = PaperConfig()
    """Settings of the solver ``paper``; those below are the settings of ``lm``, except ``threads``."""
    sigma: float = Field(default=0.03, gt=0)
    """Standard deviation of keypoints, in units of the longer side of the hand's box."""
    huber: float = Field(default=2.0, gt=0)
    """Residuals beyond so many standard deviations count linearly."""
    limit_sigma_deg: float = Field(default=4.0, gt=0)
    """Standard deviation of angles beyond their anatomical limits, degrees."""
    iterations: int = Field(default=10, ge=1)
    """Steps of the solver, at most, from each start."""
    threads: int = Field(default=1, ge=1)
    """Chunks of hands solved at the same time. Leave it at 1 where many processes share the cores."""
