"""Which network, which losses. Every number of the paper is a field; the docstring names the section.

Where the paper and the released weights disagree, the default is what is right and the other is one value away;
``NetworkConfig.released()`` and ``LossConfig.released()`` set everything as released.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from whim.config import Config

Size = Literal["tiny", "S", "B", "L", "H"]

# Width, blocks, heads, drop path: S to H as in ViTPose, tiny for CPUs.
_SIZES: dict[str, tuple[int, int, int, float]] = {
    "tiny": (192, 6, 3, 0.0),
    "S": (384, 12, 12, 0.1),
    "B": (768, 12, 12, 0.3),
    "L": (1024, 24, 16, 0.5),
    "H": (1280, 32, 16, 0.55),
}


class VitConfig(Config):
    """The transformer (section 4.2)."""

    kind: Literal["vit"] = "vit"
    size: Size = "H"
    """The paper says ViT-Large with width 1280 (section 7.2); 1280 is the width of ViT-Huge, which was released."""
    width: int | None = Field(default=None, ge=8)
    """Channels C of a token; None: that of the size. The paper: 1280 (section 7.2)."""
    depth: int | None = Field(default=None, ge=1)
    """Blocks; None: those of the size."""
    heads: int | None = Field(default=None, ge=1)
    """Attention heads; None: those of the size."""
    drop_path: float | None = Field(default=None, ge=0, lt=1)
    """Share of skipped branches in the last block, rising linearly from 0 in the first; None: that of the size."""
    mlp_ratio: float = Field(default=4.0, gt=0)
    """Hidden width of the feed-forward part over the width."""
    stem: Literal["patch", "convolutions"] = "patch"
    """From pixels to tokens. ``patch``: one convolution of 16 x 16 (ViTPose, the paper). ``convolutions``: pairs of
    small ones, halving the picture four times, which learn from fewer pictures (Xiao et al., Early Convolutions Help
    Transformers See Better, 2021); for small networks that begin with random weights."""
    padding: int = Field(default=2, ge=0)
    """Of the patch convolution. ViTPose's 2 moves every token's centre two pixels towards the origin."""

    @property
    def channels(self) -> int:
        """Width of a token."""
        return self.width or _SIZES[self.size][0]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.depth or _SIZES[self.size][1]

    @property
    def attention_heads(self) -> int:
        """Number of heads."""
        return self.heads or _SIZES[self.size][2]

    @property
    def shift(self) -> int:
        """Pixels that the centres of the tokens lie nearer to the origin than those of their patches."""
        return self.padding if self.stem == "patch" else 0

    @property
    def drop(self) -> float:
        """Drop path of the last block."""
        return _SIZES[self.size][3] if self.drop_path is None else self.drop_path

    @model_validator(mode="after")
    def _heads_divide(self) -> VitConfig:
        if self.channels % self.attention_heads:
            raise ValueError(f"width {self.channels} does not divide into {self.attention_heads} heads")
        return self


class FastVitConfig(Config):
    """FastViT in place of the ViT (Table 5, "w. FastViT"). Needs the extra ``backbones``."""

    kind: Literal["fastvit"] = "fastvit"
    model: str = "fastvit_ma36"
    """Name in timm. The paper does not say which."""
    width: int = Field(default=384, ge=8)
    """Channels C of the feature map and of the tokens."""
    heads: int = Field(default=6, ge=1)
    """Attention heads with which the tokens read the map."""

    @property
    def channels(self) -> int:
        """Width of a token."""
        return self.width

    @model_validator(mode="after")
    def _heads_divide(self) -> FastVitConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        return self


def _kind(value: Any) -> str:
    """Which backbone is described; the ViT when nothing is said."""
    return value.get("kind", "vit") if isinstance(value, dict) else getattr(value, "kind", "vit")


Backbone = Annotated[
    Annotated[VitConfig, Tag("vit")] | Annotated[FastVitConfig, Tag("fastvit")], Discriminator(_kind)
]


class RefineConfig(Config):
    """The multi-scale refinement module (section 4.2, eqs. 6 and 7; section 7.2)."""

    alignment: Literal["correct", "released"] = "correct"
    """Where a projected vertex reads the feature maps: at its place in the picture (eq. 6), or as the released
    network does, which takes crop fractions for cell numbers, so that every vertex reads the top left cells."""
    levels: int = Field(default=3, ge=1, le=4)
    """Feature maps F0 to Fn. The paper: two upsamplings (section 7.2), three maps. 1: Table 5, "Single-Scale"."""
    pyramid: Literal["chained", "separate"] = "chained"
    """``chained``: each map is made from the one before (the paper). ``separate``: each from F0 by its own
    deconvolutions (released)."""
    reduce: bool = True
    """Halve the channels of F0 first by a 1x1 convolution, as released. The paper has F0 at C channels."""
    aggregation: Literal["max", "mean", "sum"] = "max"
    """Over vertices (eq. 7 names all three; released: max)."""
    hidden: int = Field(default=0, ge=0)
    """Width of the hidden layer before each residual (eq. 7: MLP). 0: one linear layer, as released."""
    camera: bool = True
    """Also a residual on the camera (section 7.2; eq. 7 has only pose and shape)."""


class NetworkConfig(Config):
    """Crop in, coarse and refined hand out."""

    crop: int = Field(default=256, ge=32)
    """Side S of the square crop in pixels."""
    width: int = Field(default=192, ge=16)
    """Columns of it that the network sees, in the middle: 16 x 12 tokens (section 7.2)."""
    backbone: Backbone = VitConfig()
    pose_tokens: Literal[16, 1] = 16
    """16: one per rotation, as released. 1: the paper's single pose token, mapped to 96 numbers (section 7.2)."""
    token_places: bool = False
    """Add a learned vector to each hand token. Without it two fingers with the same mean pose are the same token, and
    with like means they are told apart late."""
    refinement: RefineConfig | None = RefineConfig()
    """None: Table 5, "w/o Refinement"."""
    focal: float = Field(default=5000.0, gt=0)
    """Focal length in pixels of the crop. The paper projects in weak perspective (eq. 6), the limit of ever longer
    focal lengths; released: 5000."""
    mean_camera: tuple[float, float, float] = (4.0, 0.0, 0.0)
    """Scale and shift that the camera token begins with. The paper: the mean of the training set (section 7.2)."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.crop // 16, self.width // 16

    @model_validator(mode="after")
    def _sides_fit(self) -> NetworkConfig:
        if self.crop % 16 or self.width % 16 or self.width > self.crop or (self.crop - self.width) % 2:
            raise ValueError(
                f"crop {self.crop} and width {self.width} must be multiples of 16, width <= crop"
            )
        if self.refinement is not None:
            halvings = self.refinement.levels - 1 + int(self.refinement.reduce)
            if self.backbone.channels % 2**halvings:
                raise ValueError(f"{self.backbone.channels} channels cannot be halved {halvings} times")
        if isinstance(self.backbone, FastVitConfig) and (self.crop % 32 or self.width % 32):
            raise ValueError("FastViT halves the picture five times: crop and width must be multiples of 32")
        return self

    @classmethod
    def released(cls) -> NetworkConfig:
        """As the public checkpoint computes."""
        return cls(refinement=RefineConfig(alignment="released", pyramid="separate"))


class LossConfig(Config):
    """Weights and forms of eq. 8. Every term is a mean over the hands of a batch.

    A hand's own term is a sum over its numbers, as in the code that the weights come from [63]; a hand without the
    label counts as zero. So the objective does not depend on the batch size, nor on how a batch is shared out.
    """

    vertices: float = Field(default=0.05, ge=0)
    """L1 of vertices relative to the wrist, metres: lambda_3D (section 7.2)."""
    vertices_count_as: float | None = Field(default=21.0, gt=0)
    """The mean over vertices times this. The paper's weights balance a sum over 21 joints [63]; summed over 778
    vertices (None, eq. 8 as printed) this term weighs 37 times as much against the others."""
    keypoints_3d: float = Field(default=0.0, ge=0)
    """L1 of the 21 keypoints relative to the wrist, metres; the released code has this, 0.05, in place of vertices."""
    keypoints_for_vertices: bool = True
    """Supervise the keypoints, with the weight of ``vertices``, of hands that have 3D keypoints but no vertices."""
    keypoints_2d: float = Field(default=0.01, ge=0)
    """L1 of projected keypoints in fractions of the crop: lambda_2D (section 7.2)."""
    hand_pose: float = Field(default=0.001, ge=0)
    """Squared error of the 15 finger rotations: lambda_pose (section 7.2)."""
    global_orient: float = Field(default=0.001, ge=0)
    """Squared error of the wrist's rotation: lambda_pose (section 7.2)."""
    pose_space: Literal["matrix", "6d"] = "matrix"
    """In which numbers poses are compared: rotation matrices (released), or the network's six numbers each. The
    paper's theta is either 48 or 96 numbers (sections 4.2, 7.2)."""
    betas: float = Field(default=0.0005, ge=0)
    """Squared error of the shape: lambda_shape (section 7.2)."""
    missing_betas_are_zero: bool = False
    """Pull the shape of hands without shape labels to the mean (released: yes)."""
    adversarial: float = Field(default=0.0005, ge=0)
    """How far the discriminator is from being fooled: lambda_adv (section 7.2). Acts on the final hand."""
    adversarial_form: Literal["squares", "norm"] = "squares"
    """Of D - 1 over the 17 outputs: sum of squares (released), or the norm (eq. 8 as printed)."""
    discriminator: float = Field(default=0.0005, ge=0)
    """Weight of the discriminator's own loss (released)."""
    real_hands_count: float = Field(default=1.0, gt=0)
    """Weight of real hands against made ones in it. Released: 2, as twice as many are summed."""
    coarse: float = Field(default=1.0, ge=0)
    """Weight of the coarse stage. Released: 0."""
    refined: float = Field(default=1.0, gt=0)
    """Weight of the refined stage; in a network without refinement, of the only one."""

    @classmethod
    def released(cls) -> LossConfig:
        """As the released code, but for its sums over the batch: with a batch of 32 those are 32 times these."""
        return cls(
            vertices=0.0,
            keypoints_3d=0.05,
            keypoints_for_vertices=False,
            missing_betas_are_zero=True,
            real_hands_count=2.0,
            coarse=0.0,
        )


class ModelConfig(Config):
    """The network, what it is taught, and what it begins with."""

    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    vitpose: Path | None = None
    """Weights of ``convert.convert_vitpose`` that the ViT begins with (section 7.2); None: from scratch (Table 5,
    "w/o ViTPose")."""
    begin_with: Path | None = None
    """Or weights of another training, or of the release: of backbone, hand tokens and refinement, what fits."""

    @model_validator(mode="after")
    def _one_beginning(self) -> ModelConfig:
        if self.vitpose is not None and self.begin_with is not None:
            raise ValueError("a training begins with vitpose or with begin_with, not with both")
        return self
