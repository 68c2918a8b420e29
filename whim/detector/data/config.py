"""What the detector is trained on and how pictures are varied."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from whim.config import Config


class LabelConfig(Config):
    """How labels become targets."""

    min_score: float = Field(default=0.0, ge=0, le=1)
    """Hands with a lower score are left out."""
    min_side_score: float = Field(default=0.5, ge=0, le=1)
    """A side with a lower score counts as unknown: such a hand trains box and keypoints, not the side."""
    min_keypoint_score: float = Field(default=0.3, ge=0, le=1)
    """Keypoints with a lower score count as not labelled."""


class SetConfig(Config):
    """One source of pictures."""

    path: Path
    """Pixel shards, labels (packed on the way), a COCO json file or its folder, or a YOLO folder."""
    weight: float = Field(default=1.0, gt=0)
    """How often each picture comes in an epoch."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many pictures, chosen at random. Table 2's subsets: 250000, 500000, 1000000."""
    splits: tuple[str, ...] = ()
    """Only these splits; empty: all (to train: all but ``test`` and ``val``)."""
    recording_pattern: str | None = None
    """Image folders: regular expression whose first group, or else whose match, in the file's path names the
    recording. Without it the json's ``video_id``, ``recording``, ``session`` or ``sequence`` does, or else
    every picture is a recording of its own."""


class AugmentConfig(Config):
    """How a training picture is varied. Probabilities are per made picture, unless said otherwise."""

    mosaic: float = Field(default=0.7, ge=0, le=1)
    """Four pictures around a point. The paper: 0.7 (section 7.1)."""
    mosaic_pool: int = Field(default=64, ge=4)
    """Pictures decoded together; the partners of a mosaic come from among them."""
    plain_epochs: int = Field(default=10, ge=0)
    """Without mosaic and mixup for so many epochs at the end, so that training ends on whole pictures."""
    mixup: float = Field(default=0.1, ge=0, le=1)
    """Blend with another made picture. The paper uses mixup without a number (section 5.1)."""
    rotation: float = Field(default=60.0, ge=0, le=180)
    """Largest turn in degrees. The paper: 60 (sections 5.1, 7.1)."""
    translation: float = Field(default=0.1, ge=0, le=1)
    """Largest shift as a share of the input. The paper: 0.1 (section 5.1)."""
    scale: tuple[float, float] = (0.5, 1.0)
    """Range of the scale relative to a picture that just fits. The paper: 0.5 to 1 (section 7.1)."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Mirror each source picture left to right; its hands change sides. The paper names no flip."""
    crop: float = Field(default=0.3, ge=0, le=1)
    """Take a part of each source picture. The paper crops without a number (section 5.1)."""
    crop_least: float = Field(default=0.5, gt=0, le=1)
    """Least share of width and of height that is kept."""
    masking: float = Field(default=0.3, ge=0, le=1)
    """Cover rectangles. The paper masks without a number (section 5.1)."""
    mask_count: int = Field(default=4, ge=1)
    """Most rectangles in a picture."""
    mask_size: float = Field(default=0.25, gt=0, le=1)
    """Longest side of a rectangle as a share of the input."""
    max_masked: float = Field(default=0.6, ge=0, le=1)
    """A hand of which more is covered is no longer a target."""
    min_visible: float = Field(default=0.2, ge=0, le=1)
    """A hand of which less is inside the picture is no longer a target."""
    min_size: float = Field(default=3.0, ge=0)
    """Nor one whose shorter box side has fewer pixels of the input."""
    gain: float = Field(default=0.15, ge=0)
    """Largest change of a colour channel's gain. 0 here and below: as in the paper, which names no change of colour."""
    brightness: float = Field(default=0.2, ge=0)
    """Largest shift as a share of white."""
    contrast: float = Field(default=0.2, ge=0)
    """Largest change of the slope about mid grey."""
    gamma: float = Field(default=0.2, ge=0)
    """Largest logarithm of the exponent; every other picture has none."""
    saturation: float = Field(default=0.4, ge=0, le=1)
    """Largest change of the distance from grey."""
    grey: float = Field(default=0.02, ge=0, le=1)
    """Probability of a picture without colour."""
    blur: float = Field(default=0.05, ge=0, le=1)
    """Probability of a blur of one or two pixels."""

    @classmethod
    def off(cls) -> AugmentConfig:
        """Pictures as they are, fitted into the input (Table 2: without augmentation)."""
        names = ("mosaic", "mixup", "rotation", "translation", "flip", "crop", "masking")
        colours = ("gain", "brightness", "contrast", "gamma", "saturation", "grey", "blur")
        return cls.model_validate({"scale": (1.0, 1.0), **dict.fromkeys([*names, *colours], 0.0)})
