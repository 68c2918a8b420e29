"""MediaPipe ``.task`` bundles from the tflite files of an older mediapipe wheel.

A bundle is an uncompressed zip of two networks. Three of the four go in as they are; the pose landmark network lacks
the input normalisation that today's mediapipe reads from the metadata, which is added here.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from whim.errors import require
from whim.files import atomic_path

_EPOCH = (1980, 1, 1, 0, 0, 0)  # one fixed time, so that the same parts give the same bytes


def hand_task(parts: Path, out: Path) -> None:
    """Palm detector and hand landmarks -> ``hand_landmarker.task``."""
    _bundle(
        out,
        {
            "hand_detector.tflite": (parts / "palm_detection_full.tflite").read_bytes(),
            "hand_landmarks_detector.tflite": (parts / "hand_landmark_full.tflite").read_bytes(),
        },
    )


def pose_task(parts: Path, out: Path) -> None:
    """Pose detector and pose landmarks -> ``pose_landmarker.task``."""
    landmarks = (parts / "pose_landmark_full.tflite").read_bytes()
    _bundle(
        out,
        {
            "pose_detector.tflite": (parts / "pose_detection.tflite").read_bytes(),
            "pose_landmarks_detector.tflite": with_normalization(landmarks, mean=0.0, std=255.0),
        },
    )


def with_normalization(model: bytes, *, mean: float, std: float) -> bytes:
    """The TFLite model with metadata that says: feed ``(pixel - mean) / std``."""
    flatbuffers = require("flatbuffers", extra="annotate")
    require("mediapipe", extra="annotate")
    from mediapipe.tasks.metadata import metadata_schema_py_generated as meta
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    unit = meta.ProcessUnitT()
    unit.optionsType = meta.ProcessUnitOptions.NormalizationOptions
    unit.options = meta.NormalizationOptionsT()
    unit.options.mean, unit.options.std = [mean], [std]
    image = meta.TensorMetadataT()
    image.name, image.processUnits = b"image", [unit]
    graph = meta.SubGraphMetadataT()
    graph.inputTensorMetadata = [image]
    about = meta.ModelMetadataT()
    about.subgraphMetadata = [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(about.Pack(builder), b"M001")

    buffer = tflite.BufferT()
    buffer.data = bytes(builder.Output())
    tree = tflite.ModelT.InitFromObj(tflite.Model.GetRootAsModel(model, 0))
    tree.buffers.append(buffer)
    entry = tflite.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(tree.buffers) - 1
    tree.metadata = [*(tree.metadata or []), entry]
    builder = flatbuffers.Builder(0)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _bundle(out: Path, parts: dict[str, bytes]) -> None:
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in parts.items():
            bundle.writestr(zipfile.ZipInfo(name, _EPOCH), content)
