"""One frame through the pipeline: people, hands on the frame and on the people, fusion (paper section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from whim.annotate.config import PipelineConfig
from whim.perception.fusion import fuse
from whim.perception.people.merge import merge_people
from whim.perception.regions import detect_hands
from whim.perception.registry import BuiltHands, BuiltPeople, build_hands, build_people
from whim.perception.types import Hand, HandVote, Image, Person


@dataclass(frozen=True)
class Detectors:
    """The detectors of a pipeline, loaded once per process."""

    people: BuiltPeople
    hands: BuiltHands

    @classmethod
    def load(cls, config: PipelineConfig) -> Detectors:
        """Load every network of the pipeline.

        Raises:
            MissingWeightError: a required weight is not in the cache.
        """
        return cls(people=build_people(config.people), hands=build_hands(config.hands))

    def close(self) -> None:
        """Release the networks. Call it: mediapipe must not be left to the garbage collector."""
        self.people.close()
        self.hands.close()


@dataclass(frozen=True)
class FrameLabels:
    """What was found in one frame."""

    persons: list[Person]
    hands: list[Hand]
    votes: list[HandVote]
    """What fusion was given."""


def annotate_frame(image: Image, detectors: Detectors, config: PipelineConfig) -> FrameLabels:
    """People above the threshold and fused hands of one upright RGB frame (H, W, 3)."""
    found = [person for detector in detectors.people.detectors for person in detector.detect(image)]
    persons = merge_people([person for person in found if person.score > config.people.min_score])
    votes = detect_hands(image, persons, detectors.hands)
    hands = fuse(
        votes,
        persons,
        config.fusion,
        weights=detectors.hands.weights,
        detectors_run=len(detectors.hands.detectors),
    )
    return FrameLabels(persons=persons, hands=hands, votes=votes)
