"""MediaPipe bundles: the right members, stored, deterministic, with normalisation."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from whim.errors import MissingWeightError
from whim.models.catalog import weight_path
from whim.models.task_bundle import hand_task, pose_task, with_normalization

flatbuffers = pytest.importorskip("flatbuffers")
tflite = pytest.importorskip("mediapipe.tasks.metadata.schema_py_generated")
meta = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")


def tiny_model() -> bytes:
    model = tflite.ModelT()
    model.version, model.description, model.buffers = 3, b"tiny", [tflite.BufferT()]
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


@pytest.mark.weights
def test_the_real_pose_bundle_says_how_to_normalise() -> None:
    try:
        path = weight_path("mediapipe-pose-landmarker")
    except MissingWeightError as error:
        pytest.skip(str(error))
    with zipfile.ZipFile(path) as bundle:
        assert normalization(bundle.read("pose_detector.tflite")) == ([127.5], [127.5])
        assert normalization(bundle.read("pose_landmarks_detector.tflite")) == ([0.0], [255.0])
