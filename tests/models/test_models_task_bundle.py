"""MediaPipe bundles: the right members, stored, deterministic, with normalisation."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from whim.errors import MissingWeightError
from whim.models.catalog import weight_path
from whim.models.task_bundle import hand_task, pose_task, with_normalization

flatbuffers = pytest.importorskip("flatbuffers")
tflite = pytest.importorskip("mediapipe.tasks.metadata.schema_py_generated")
meta = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")


def tiny_model(metadata: bytes | None = None) -> bytes:
    model = tflite.ModelT()
    model.version, model.description, model.buffers = 3, b"tiny", [tflite.BufferT()]
    if metadata:
        buffer, entry = tflite.BufferT(), tflite.MetadataT()
        buffer.data, entry.name, entry.buffer = b"1.5.0", metadata, 1
        model.buffers, model.metadata = [*model.buffers, buffer], [entry]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def normalization(model: bytes) -> tuple[list[float], list[float]]:
    tree = tflite.ModelT.InitFromObj(tflite.Model.GetRootAsModel(model, 0))
    (entry,) = [e for e in tree.metadata if e.name == b"TFLITE_METADATA"]
    about = meta.ModelMetadataT.InitFromObj(
        meta.ModelMetadata.GetRootAsModelMetadata(bytes(tree.buffers[entry.buffer].data), 0)
    )
    options = about.subgraphMetadata[0].inputTensorMetadata[0].processUnits[0].options
    return list(options.mean), list(options.std)


def test_other_metadata_of_the_model_stays() -> None:
    model = with_normalization(tiny_model(metadata=b"min_runtime_version"), mean=0.0, std=1.0)
    tree = tflite.ModelT.InitFromObj(tflite.Model.GetRootAsModel(model, 0))
    assert {e.name for e in tree.metadata} == {
        b"min_runtime_version",
        b"TFLITE_METADATA",
    }
    assert bytes(tree.buffers[1].data) == b"1.5.0"
    assert normalization(model) == ([0.0], [1.0])


def test_normalization_is_added() -> None:
    model = with_normalization(tiny_model(), mean=127.5, std=255.0)
    assert normalization(model) == ([127.5], [255.0])
    assert tflite.Model.GetRootAsModel(model, 0).Description() == b"tiny"


@pytest.mark.parametrize(
    ("build", "parts", "members"),
    [
        (
            hand_task,
            ("palm_detection_full", "hand_landmark_full"),
            ("hand_detector", "hand_landmarks_detector"),
        ),
        (pose_task, ("pose_detection", "pose_landmark_full"), ("pose_detector", "pose_landmarks_detector")),
    ],
)
def test_bundles(
    tmp_path: Path, build: Callable[[Path, Path], None], parts: tuple[str, ...], members: tuple[str, ...]
) -> None:
    for name in parts:
        (tmp_path / f"{name}.tflite").write_bytes(tiny_model())
    build(tmp_path, tmp_path / "a.task")
    build(tmp_path, tmp_path / "b.task")
    assert (tmp_path / "a.task").read_bytes() == (tmp_path / "b.task").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.task") as bundle:
        assert tuple(bundle.namelist()) == tuple(f"{name}.tflite" for name in members)
        assert {info.compress_type for info in bundle.infolist()} == {zipfile.ZIP_STORED}


def test_only_the_pose_landmarks_are_changed(tmp_path: Path) -> None:
    for name in ("palm_detection_full", "hand_landmark_full", "pose_detection", "pose_landmark_full"):
        (tmp_path / f"{name}.tflite").write_bytes(tiny_model(metadata=name.encode()))
    hand_task(tmp_path, tmp_path / "hand.task")
    pose_task(tmp_path, tmp_path / "pose.task")
    with zipfile.ZipFile(tmp_path / "hand.task") as bundle:
        assert bundle.read("hand_detector.tflite") == tiny_model(b"palm_detection_full")
        assert bundle.read("hand_landmarks_detector.tflite") == tiny_model(b"hand_landmark_full")
    with zipfile.ZipFile(tmp_path / "pose.task") as bundle:
        assert bundle.read("pose_detector.tflite") == tiny_model(b"pose_detection")
        assert normalization(bundle.read("pose_landmarks_detector.tflite")) == ([0.0], [255.0])


@pytest.mark.weights
def test_the_real_pose_bundle_says_how_to_normalise() -> None:
    try:
        path = weight_path("mediapipe-pose-landmarker")
    except MissingWeightError as error:
        pytest.skip(str(error))
    with zipfile.ZipFile(path) as bundle:
        assert normalization(bundle.read("pose_detector.tflite")) == ([127.5], [127.5])
        assert normalization(bundle.read("pose_landmarks_detector.tflite")) == ([0.0], [255.0])


@pytest.mark.weights
@pytest.mark.parametrize(
    ("name", "landmarker", "found"),
    [
        ("mediapipe-hand-landmarker", "HandLandmarker", "hand_landmarks"),
        ("mediapipe-pose-landmarker", "PoseLandmarker", "pose_landmarks"),
    ],
)
def test_mediapipe_opens_the_real_bundles(name: str, landmarker: str, found: str) -> None:
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    try:
        path = weight_path(name)
    except MissingWeightError as error:
        pytest.skip(str(error))
    options = getattr(vision, f"{landmarker}Options")(base_options=BaseOptions(model_asset_path=str(path)))
    grey = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.full((240, 320, 3), 128, np.uint8))
    with getattr(vision, landmarker).create_from_options(options) as detector:
        assert getattr(detector.detect(grey), found) == []  # nobody on a grey wall
